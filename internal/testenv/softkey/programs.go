package softkey

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Untouched after a key's path is the name of a file that is there while nobody
// touches the key.
const Untouched = ".untouched"

// envKeys lists the files of the keys that are plugged in, as PATH does.
const envKeys = "TSH_TEST_KEYS"

// TokenMain, AssertMain and CredMain are the programs fido2-token, fido2-assert
// and fido2-cred as far as they are used: the same command line, input and
// output, for keys that are files.
func TokenMain() { programMain("fido2-token", token) }

// AssertMain is fido2-assert; see TokenMain.
func AssertMain() { programMain("fido2-assert", assert) }

// CredMain is fido2-cred; see TokenMain.
func CredMain() { programMain("fido2-cred", cred) }

func programMain(name string, run func(args []string) error) {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// token lists the keys (-L) or the credentials of one (-L -k RPID DEVICE).
func token(args []string) error {
	switch {
	case slices.Equal(args, []string{"-L"}):
		for _, path := range filepath.SplitList(os.Getenv(envKeys)) {
			fmt.Printf("%s: vendor=0x1050, product=0x0407 (Soft Key made of files)\n", path)
		}
		return nil
	case len(args) == 4 && args[0] == "-L" && args[1] == "-k":
		return listResidents(args[2], args[3])
	}
	return errors.New("usage")
}

func listResidents(rpID, device string) error {
	k, err := Load(device)
	if err != nil {
		return err
	}
	if err := k.checkPIN(device, "fido_credman_get_dev_rk"); err != nil {
		return err
	}
	n := 0
	for _, c := range k.Credentials {
		if c.Resident && c.RPID == rpID {
			fmt.Printf("%02d: %s %s %s es256 uvopt\n", n, b64(c.ID), c.UserName, b64(c.UserID))
			n++
		}
	}
	return nil
}

// checkPIN asks for the PIN as the programs do: on the terminal or, where there
// is none, on standard input.
func (k *Key) checkPIN(device, function string) error {
	if k.PIN == "" {
		return fmt.Errorf("%s: FIDO_ERR_PIN_NOT_SET", function)
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		_ = tty.Close()
		return errors.New("softkey: a program has been left a terminal")
	}
	fmt.Fprintf(os.Stderr, "Enter PIN for %s: ", device)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%s: FIDO_ERR_PIN_REQUIRED", function)
	}
	if strings.TrimSuffix(line, "\n") != k.PIN {
		return fmt.Errorf("%s: FIDO_ERR_PIN_INVALID", function)
	}
	return nil
}

// commandLine is what getopt makes of the arguments.
type commandLine struct {
	flags   string
	toggles []string
	input   string
	rest    []string
}

func parse(args []string, flags string) (c commandLine, err error) {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flag := args[0][1:]
		args = args[1:]
		switch {
		case flag == "i" && len(args) > 0:
			c.input, args = args[0], args[1:]
		case flag == "t" && len(args) > 0:
			c.toggles, args = append(c.toggles, args[0]), args[1:]
		case len(flag) == 1 && strings.Contains(flags, flag):
			c.flags += flag
		default:
			return c, errors.New("usage")
		}
	}
	c.rest = args
	return c, nil
}

func (c *commandLine) has(flag string) bool { return strings.Contains(c.flags, flag) }

// lines reads the parameters.
func (c *commandLine) lines() ([]string, error) {
	var data []byte
	var err error
	if c.input != "" {
		data, err = os.ReadFile(c.input)
	} else {
		data, err = io.ReadAll(os.Stdin)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), err
}

// awaitTouch waits for the person.
func awaitTouch(device string) {
	for {
		if _, err := os.Stat(device + Untouched); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // this is a person, who is not in the test
	}
}

// assert is fido2-assert -G [-prv] [-t up=false] [-i FILE] DEVICE.
func assert(args []string) error {
	c, err := parse(args, "Gprv")
	if err != nil || len(args) == 0 || args[0] != "-G" || len(c.rest) != 1 {
		return errors.New("usage")
	}
	req, lines, err := c.getRequest()
	if err != nil {
		return err
	}
	device := c.rest[0]
	k, err := Load(device)
	if err != nil {
		return err
	}
	if c.has("v") {
		if err := k.checkPIN(device, "fido_dev_get_assert"); err != nil {
			return err
		}
	}
	list, err := k.GetAssertion(req)
	if err != nil {
		return errors.New("fido_dev_get_assert: FIDO_ERR_NO_CREDENTIALS")
	}
	if !req.NoUP {
		awaitTouch(device)
	}
	for _, a := range list {
		fmt.Printf("%s\n%s\n%s\n%s\n", lines[0], lines[1], b64(blob(nil, a.AuthData)), b64(a.Signature))
		if c.has("r") {
			fmt.Println(b64(a.UserID))
		}
	}
	return k.Save(device)
}

// getRequest reads what fido2-assert is asked for.
func (c *commandLine) getRequest() (req GetRequest, lines []string, err error) {
	if lines, err = c.lines(); err != nil {
		return req, nil, err
	}
	want := 3
	if c.has("r") {
		want--
	}
	if len(lines) != want {
		return req, nil, errors.New("input error")
	}
	hash, err := base64.StdEncoding.DecodeString(lines[0])
	if err != nil || len(hash) != sha256.Size {
		return req, nil, errors.New("input error: client data hash")
	}
	req = GetRequest{RPID: lines[1], ClientDataHash: hash, UV: c.has("v"), NoUP: slices.Contains(c.toggles, "up=false")}
	if !c.has("r") {
		id, err := base64.StdEncoding.DecodeString(lines[2])
		if err != nil {
			return req, nil, errors.New("input error: credential id")
		}
		req.Allow = [][]byte{id}
	}
	return req, lines, nil
}

// cred is fido2-cred -M [-rv] [-i FILE] DEVICE [TYPE].
func cred(args []string) error {
	c, err := parse(args, "Mrv")
	if err != nil || len(args) == 0 || args[0] != "-M" || len(c.rest) < 1 || len(c.rest) > 2 {
		return errors.New("usage")
	}
	lines, err := c.lines()
	if err != nil {
		return err
	}
	if len(lines) != 4 {
		return errors.New("input error")
	}
	hash, err := base64.StdEncoding.DecodeString(lines[0])
	user, err2 := base64.StdEncoding.DecodeString(lines[3])
	if err != nil || err2 != nil {
		return errors.New("input error")
	}
	device := c.rest[0]
	k, err := Load(device)
	if err != nil {
		return err
	}
	k.Packed = true // as keys that one can buy are
	if c.has("v") {
		if err := k.checkPIN(device, "fido_dev_make_cred"); err != nil {
			return err
		}
	}
	made, err := k.MakeCredential(CreateRequest{
		RPID: lines[1], ClientDataHash: hash, UserName: lines[2], UserID: bytes.Clone(user), Resident: c.has("r"), UV: c.has("v"),
	})
	if err != nil {
		return err
	}
	awaitTouch(device)
	for _, line := range []string{lines[0], lines[1], made.Format, b64(blob(nil, made.AuthData)), b64(made.ID), b64(made.Signature)} {
		fmt.Println(line)
	}
	return k.Save(device)
}
