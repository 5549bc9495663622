// Package sdktest holds the tests of programs that use the SDK, those in examples: that
// they build and are small, and do what they say against a cluster.
package sdktest
