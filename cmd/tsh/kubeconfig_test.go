package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestKubeServerName(t *testing.T) {
	const common = "kube-teleport-proxy-alpn.teleport.cluster.local"
	for addr, want := range map[string]string{
		"gate.example.net:443": "kube-teleport-proxy-alpn.gate.example.net",
		"localhost:3080":       common,
		"127.0.0.1:3080":       common,
		"[::1]:3080":           common,
		":3080":                common,
	} {
		if got := kubeServerName(addr); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

// kubeFile is what kubectl sees of a kubeconfig.
type kubeFile struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Current    string `yaml:"current-context"`
	Clusters   []struct {
		Name    string
		Cluster map[string]string
	}
	Users []struct {
		Name string
		User map[string]string
	}
	Contexts []struct {
		Name    string
		Context map[string]string
	}
}

func TestMergeKubeconfig(t *testing.T) {
	entry := &kubeEntry{
		name: "harbor", server: "https://gate.example.net:443", tlsServerName: "kube-teleport-proxy-alpn.gate.example.net",
		authority: []byte("ca"), cert: []byte("cert"), key: []byte("key"),
	}
	for name, tt := range map[string]struct {
		old     string
		entries int // besides ours
	}{
		"no file":    {"", 0},
		"empty":      {"\n", 0},
		"comments":   {"# nothing yet\n", 0},
		"empty maps": {"apiVersion: v1\nkind: Config\nclusters: []\nusers: null\ncontexts: []\n", 0},
		"JSON":       {`{"clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":[],"contexts":[]}`, 1},
		"ours":       {"clusters: [{name: harbor, cluster: {server: old, proxy-url: http://old}}]\nusers: [{name: harbor, user: {token: old}}]\n", 0},
		"others":     {"clusters:\n- name: a\n  cluster: {server: https://a}\n- name: harbor\n  cluster: {server: old}\ncontexts: []\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			merged, err := mergeKubeconfig("kube", []byte(tt.old), entry)
			if err != nil {
				t.Fatal(err)
			}
			var got kubeFile
			if err := yaml.Unmarshal(merged, &got); err != nil {
				t.Fatalf("%v\n%s", err, merged)
			}
			if got.APIVersion != "v1" || got.Kind != "Config" || got.Current != "harbor" || len(got.Clusters) != tt.entries+1 || len(got.Users) != 1 || len(got.Contexts) != 1 {
				t.Fatalf("%s", merged)
			}
			cluster, user := got.Clusters[tt.entries].Cluster, got.Users[0].User
			want := base64.StdEncoding.EncodeToString
			if len(cluster) != 3 || cluster["server"] != entry.server || cluster["tls-server-name"] != entry.tlsServerName || cluster["certificate-authority-data"] != want(entry.authority) ||
				len(user) != 2 || user["client-key-data"] != want(entry.key) || user["client-certificate-data"] != want(entry.cert) {
				t.Errorf("%s", merged)
			}
			if c := got.Contexts[0].Context; c["cluster"] != "harbor" || c["user"] != "harbor" {
				t.Errorf("%s", merged)
			}
			again, err := mergeKubeconfig("kube", merged, entry)
			if err != nil || string(again) != string(merged) {
				t.Errorf("%v, once more:\n%s", err, again)
			}
		})
	}
}

// case F10: a bomb of aliases is no list, and nothing is expanded.
func TestMergeKubeconfigRefuses(t *testing.T) {
	bomb := "a: &a [x]\nb: &b [*a, *a]\nclusters: *b\n"
	// What is replaced is what another entry refers to: nobody could read the file any more.
	shared := "clusters:\n- name: harbor\n  cluster: &c {server: old}\n- name: b\n  cluster: *c\n"
	for _, old := range []string{bomb, shared, "- a\n", "a: b\n---\nc: d\n", "{", "clusters: {}\n", "\x00", strings.Repeat("[", 20000)} {
		if merged, err := mergeKubeconfig("kube", []byte(old), &kubeEntry{name: "harbor"}); err == nil {
			t.Errorf("%.40q becomes:\n%s", old, merged)
		}
	}
}
