package edgetest

// Reload makes the edge go on with another configuration, as SIGHUP does. Its namespaces and issuers are those of o, as
// all the rest that reloads.
func (n *Node) Reload(o Options) {
	n.t.Helper()
	use, err := n.Prepare(o.config(n.URL))
	if err != nil {
		n.t.Error(err)
		return
	}
	use()
}
