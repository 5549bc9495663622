/* A library to be loaded before libfido2: one security key, whose answers are in
 * the environment, so that the real programs can be tried without one. */
#include <fido.h>
#include <fido/credman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t hex(const char *name, unsigned char *out, size_t max) {
	const char *s = getenv(name);
	size_t n = 0;
	for (; s && s[0] && s[1] && n < max; s += 2, n++) {
		unsigned v;
		sscanf(s, "%2x", &v);
		out[n] = v;
	}
	return n;
}

static int verify(const char *pin) {
	const char *want = getenv("ONEKEY_PIN");
	if (want == NULL || *want == 0) return FIDO_OK;
	if (pin == NULL) return FIDO_ERR_PIN_REQUIRED;
	return strcmp(pin, want) ? FIDO_ERR_PIN_INVALID : FIDO_OK;
}

int fido_dev_info_manifest(fido_dev_info_t *l, size_t max, size_t *n) { *n = 1; return FIDO_OK; }
const fido_dev_info_t *fido_dev_info_ptr(const fido_dev_info_t *l, size_t i) { return l; }
const char *fido_dev_info_path(const fido_dev_info_t *d) { return "ioreg://42: one key"; }
int16_t fido_dev_info_vendor(const fido_dev_info_t *d) { return 0x1050; }
int16_t fido_dev_info_product(const fido_dev_info_t *d) { return 0x407; }
const char *fido_dev_info_manufacturer_string(const fido_dev_info_t *d) { return "One"; }
const char *fido_dev_info_product_string(const fido_dev_info_t *d) { return "Key"; }
int fido_dev_open(fido_dev_t *d, const char *path) { return strcmp(path, "ioreg://42: one key") ? FIDO_ERR_INTERNAL : FIDO_OK; }
int fido_dev_close(fido_dev_t *d) { return FIDO_OK; }
int fido_dev_cancel(fido_dev_t *d) { return FIDO_OK; }
bool fido_dev_has_pin(const fido_dev_t *d) { return true; }
bool fido_dev_has_uv(const fido_dev_t *d) { return false; }
bool fido_dev_is_fido2(const fido_dev_t *d) { return true; }
bool fido_dev_supports_credman(const fido_dev_t *d) { return true; }
int fido_dev_get_cbor_info(fido_dev_t *d, fido_cbor_info_t *c) { return FIDO_ERR_INVALID_COMMAND; }

int fido_dev_get_assert(fido_dev_t *d, fido_assert_t *a, const char *pin) {
	unsigned char data[512], sig[256];
	size_t n = hex("ONEKEY_AUTHDATA", data, sizeof data), s = hex("ONEKEY_SIG", sig, sizeof sig);
	int r = pin ? verify(pin) : FIDO_OK;
	if (r != FIDO_OK) return r;
	if (n == 0) return FIDO_ERR_NO_CREDENTIALS;
	if ((r = fido_assert_set_count(a, 1)) || (r = fido_assert_set_authdata_raw(a, 0, data, n))) return r;
	return fido_assert_set_sig(a, 0, sig, s);
}

int fido_dev_make_cred(fido_dev_t *d, fido_cred_t *c, const char *pin) {
	unsigned char data[512], sig[256];
	size_t n = hex("ONEKEY_AUTHDATA", data, sizeof data), s = hex("ONEKEY_SIG", sig, sizeof sig);
	int r = verify(pin);
	if (r != FIDO_OK) return r;
	if ((r = fido_cred_set_authdata_raw(c, data, n)) || (r = fido_cred_set_fmt(c, "packed"))) return r;
	return fido_cred_set_sig(c, sig, s);
}

static fido_cred_t *only(void) {
	unsigned char id[64], user[64];
	size_t n = hex("ONEKEY_ID", id, sizeof id), u = hex("ONEKEY_USER", user, sizeof user);
	fido_cred_t *c = fido_cred_new();
	fido_cred_set_type(c, COSE_ES256);
	fido_cred_set_id(c, id, n);
	fido_cred_set_user(c, user, u, "alice", "Alice B", NULL);
	return c;
}

int fido_credman_get_dev_rk(fido_dev_t *d, const char *rp, fido_credman_rk_t *rk, const char *pin) { return verify(pin); }
size_t fido_credman_rk_count(const fido_credman_rk_t *rk) { return 1; }
const fido_cred_t *fido_credman_rk(const fido_credman_rk_t *rk, size_t i) { return only(); }
