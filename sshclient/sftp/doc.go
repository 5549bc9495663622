// Package sftp is a client of the SSH file transfer protocol, version 3
// (draft-ietf-secsh-filexfer-02), on any stream: usually a subsystem of
// an sshclient connection.
//
// Many requests may be under way at once, from many goroutines. A file is read with
// [File.Reader] and written with [File.Writer], which keep a window of requests in
// flight; how many there are in all is bounded for a client.
//
// A server is not trusted. A packet that is longer than 256 KiB, answers no request, is
// of a kind that the request cannot have, does not hold what it says it holds, or brings
// data that nobody asked for, ends the connection with a [ProtocolError].
package sftp
