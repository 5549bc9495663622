package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/keystore"
)

// sign has the cluster's administrator make an identity, while the cluster runs:
// sign PATH USER [format=openssh|tls] [ttl=8760h] [overwrite].
func (w *world) sign(ts *testscript.TestScript, neg bool, args []string) {
	spec := devcluster.SignSpec{Out: ts.MkAbs(args[0]), User: args[1]}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "format":
			spec.Format = value
		case "ttl":
			spec.TTL = duration(ts, value)
		case "overwrite":
			spec.Overwrite = true
		default:
			ts.Fatalf("sign: %q", arg)
		}
	}
	admin, err := devcluster.OpenAdmin(filepath.Dir(w.newest().CAFile()))
	ts.Check(err)
	defer admin.Close()
	if _, err = admin.SignUser(spec); neg != (err != nil) {
		ts.Fatalf("sign: %v", err)
	}
}

// What an administrator signs is read by who reads what tsh writes.
func TestSignedIdentityIsRead(t *testing.T) {
	for _, suite := range []string{"balanced-v1", "legacy"} {
		dir := t.TempDir()
		c, err := devcluster.Start(t.Context(), devcluster.Config{
			Dir: filepath.Join(dir, "c"), Addr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4, Suite: suite, Leaf: "leaf.example",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.AddUser(devcluster.UserSpec{Name: "robot", Password: canary + "robot", Roles: []string{"access"}, Logins: []string{"root"}}); err != nil {
			t.Fatal(err)
		}
		for _, proxy := range []string{"", c.PublicAddr()} {
			path := filepath.Join(dir, "robot")
			signed, err := c.SignUser(devcluster.SignSpec{User: "robot", TTL: 8760 * time.Hour, Proxy: proxy, Out: path, Overwrite: true})
			if err != nil {
				t.Fatal(err)
			}
			id, err := keystore.ReadIdentityFile(path)
			if err != nil {
				t.Fatal(err)
			}
			id.Proxy = "localhost"
			if err := id.Check(); err != nil {
				t.Error(err)
			}
			until, ok := id.Expiry()
			if id.User != "robot" || id.RootCluster() != "dev.example" || !ok || !until.Equal(signed.ValidUntil) || len(id.Warnings) > 0 || len(id.Authorities) != 2 {
				t.Errorf("%s, proxy %q: %s of %s until %s, want %s, %q, %d authorities", suite, proxy, id.User, id.RootCluster(), until, signed.ValidUntil, id.Warnings, len(id.Authorities))
			}
		}
	}
}
