package devcluster

// RefuseCalls makes the cluster answer every call that needs credentials with a refusal
// in these words, however good the credentials are; "" ends that. Logins go on working:
// it is what a client must not turn into an endless row of them.
func (c *Cluster) RefuseCalls(text string) { c.refusal.Store(&text) }
