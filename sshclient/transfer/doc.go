// Package transfer copies files and trees between this machine and nodes, or from node to
// node, over SFTP.
//
// Many files are under way at once, and many requests of each, so that the time small
// files take does not depend on the round trip of each. A tree is copied while it is still
// being listed.
//
// A file is written to a temporary name beside its target and renamed when all of it is
// there: what had the name before stays as it was until then, and after every failure.
// Data is written in order, and there is no gap before its end.
//
// A node that files come from is not trusted: its names must be names, nothing is written
// outside the destination (an [os.Root]), no entry of a directory replaces another one of
// the same copy, and memory, depth and a file's growth are bounded.
package transfer
