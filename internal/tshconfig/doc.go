// Package tshconfig reads what people and their companies tell tsh in files:
// config/config.yaml in the profile directory and /etc/tsh.yaml. Load reads and
// merges them; Expand, ExpandAlias and Headers say what follows for one target, one
// command line, one proxy. Nothing here touches the network or runs anything.
package tshconfig
