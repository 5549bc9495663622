// Package networktest holds the tests that run the real tsh through the real
// programs that stand between people and clusters: an HTTP proxy that wants a
// password (tinyproxy), and a load balancer that ends TLS (nginx). It has no
// code but tests.
package networktest
