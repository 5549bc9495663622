// Package devcluster runs a whole cluster in one process: an auth server, a web
// proxy with TLS routing on one port, and SSH nodes. It is the demo for people
// without a cluster and the real server of the client's tests.
//
// It answers as an 18.3 cluster answers, as far as the client's commands need
// it, and says "unimplemented" to everything else. It is not for production:
// whoever may log in runs commands as the OS user that started it, whatever
// login name was asked for; that name is checked against certificate and
// roles, but no other OS user is switched to.
//
// It shares no code with the client.
package devcluster
