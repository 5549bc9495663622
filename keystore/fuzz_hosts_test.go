package keystore

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A login replaces the keys of its own proxy and cluster, and nothing else: not
// what other proxies and clusters are trusted for, and not what is no entry.
func FuzzMergeHosts(f *testing.F) {
	seedFromFixtures(f, "known_hosts")
	key, text := keyText(f)
	_, other := keyText(f)
	for _, s := range []string{
		"@cert-authority gate,harbor,*.harbor " + other + " type=host\n@cert-authority port,harbor,*.harbor " + other + " type=host\n",
		"# c\r\n\x00\nharbor " + text + "\ngate,pier,*.pier " + other + "\n@revoked * " + other + " why so",
		"@cert-authority gate,harbor,*.harbor " + other + " type=user\n@revoked gate,harbor,*.harbor " + text,
		"@cert-authority gate,harbor,*.harbor " + other + "\r\n@Revoked x y z\n\n\n@cert-authority gate,harbor,*.harbor " + text + " type=host",
	} {
		f.Add([]byte(s))
	}
	brought := []Authority{{Cluster: "harbor", SSHKeys: []ssh.PublicKey{key}}}
	f.Fuzz(func(t *testing.T, old []byte) {
		merged := mergeHosts(old, "gate", brought)
		if !bytes.Equal(mergeHosts(merged, "gate", brought), merged) {
			t.Fatal("a second time changes it")
		}
		if !slices.Equal(noEntries(old), noEntries(merged)) {
			t.Fatalf("what is no entry was %q and is %q", noEntries(old), noEntries(merged))
		}
		proxies := map[string]bool{"gate": true}
		eachHostLine(old, func(_ int, l *hostLine) {
			p, _ := l.proxyCluster()
			proxies[p] = true
		})
		for p := range proxies {
			before, after := readTrust(old, p, all), readTrust(merged, p, all)
			if p == "gate" {
				checkBrought(t, before, after, key)
				delete(before.keys, "harbor")
				delete(after.keys, "harbor")
			}
			checkSameTrust(t, before, after)
		}
	})
}

// noEntries are the lines that are none of ours to change.
func noEntries(data []byte) (lines []string) {
	for line := range bytes.Lines(data) {
		if _, ok, _ := parseHostLine(line); !ok {
			lines = append(lines, string(bytes.TrimSuffix(line, []byte{'\n'})))
		}
	}
	return lines
}

func checkBrought(t *testing.T, before, after trust, key ssh.PublicKey) {
	t.Helper()
	want := 1
	if before.revoked[string(key.Marshal())] {
		want = 0
	}
	if got := after.keys["harbor"]; len(got) != want || want == 1 && !containsKey(got, key) {
		t.Fatalf("trusted are %v", got)
	}
}

func checkSameTrust(t *testing.T, before, after trust) {
	t.Helper()
	if len(before.keys) != len(after.keys) || len(before.revoked) != len(after.revoked) || len(before.lost) != len(after.lost) {
		t.Fatalf("trust was %v and is %v", before, after)
	}
	for cluster, keys := range before.keys {
		same := slices.EqualFunc(keys, after.keys[cluster], func(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) })
		if !same {
			t.Fatalf("keys of %q were %v and are %v", cluster, keys, after.keys[cluster])
		}
	}
	for k := range before.revoked {
		if !after.revoked[k] {
			t.Fatal("a key is no longer revoked")
		}
	}
}
