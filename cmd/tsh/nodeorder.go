package main

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/api"
)

// nodeOrder is how a list of servers is sorted.
type nodeOrder struct {
	by   string // name, address, id, label
	key  string // of the label
	down bool
}

// parseOrder reads the value of --sort; "" is by name.
func parseOrder(s string) (nodeOrder, error) {
	by, down := strings.CutPrefix(s, "-")
	by, key, _ := strings.Cut(by, ":")
	o := nodeOrder{by, key, down}
	switch {
	case s == "":
		return nodeOrder{by: "name"}, nil
	case key == "" && (s == "name" || s == "-name" || by == "address" || by == "id"), by == "label" && key != "":
		return o, nil
	}
	return o, usagef("--sort=%s: choose name, address, id or label:KEY", s)
}

// streams is the order to ask the cluster for, if it has this one: "" if the whole list
// has to be there before it can be sorted.
func (o nodeOrder) streams() string {
	switch {
	case o.by != "name":
		return ""
	case o.down:
		return "-name"
	}
	return "name"
}

func (o nodeOrder) compare(x, y *api.Node) int {
	c := 0
	switch o.by {
	case "address":
		c = strings.Compare(nodeAddress(x), nodeAddress(y))
	case "id":
		c = strings.Compare(x.Metadata.Name, y.Metadata.Name)
	case "label":
		c = strings.Compare(x.Labels()[o.key], y.Labels()[o.key])
	}
	c = cmp.Or(c, strings.Compare(x.Spec.Hostname, y.Spec.Hostname), strings.Compare(x.Metadata.Name, y.Metadata.Name))
	if o.down {
		return -c
	}
	return c
}

// sort sorts nodes as other clients do, by the bytes of the names.
func (o nodeOrder) sort(nodes []*api.Node) { slices.SortFunc(nodes, o.compare) }

// collectNodes is all nodes of a list, sorted. With an error it is those that came before.
func collectNodes(list iter.Seq2[*api.Node, error], order nodeOrder) (nodes []*api.Node, err error) {
	for node, failure := range list {
		if failure != nil {
			err = failure
			break
		}
		nodes = append(nodes, node)
	}
	order.sort(nodes)
	return nodes, err
}
