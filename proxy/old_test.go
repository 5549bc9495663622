package proxy

import "testing"

// Clusters before 15 get RSA keys, whatever else they may say.
func TestOldServersHaveNoSuites(t *testing.T) {
	for version, want := range map[string]string{
		"14.0.0-dev": "legacy", "v14.3.2": "legacy", "9.1.0": "legacy", "15.0.0": "balanced-v1", "18.3.0": "balanced-v1",
		"": "balanced-v1", "dev": "balanced-v1", "-3": "balanced-v1", "99999999999999999999.0": "balanced-v1",
	} {
		ping, err := decodePing([]byte(`{"cluster_name":"c","server_version":"` + version + `","auth":{"signature_algorithm_suite":"balanced-v1"}}`))
		if err != nil || ping.Auth.SignatureSuite() != want {
			t.Errorf("%s: %v, %v", version, ping, err)
		}
	}
}
