package main

import (
	"bufio"
	"context"
	"io"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	// headNodes is how many servers set the widths of a table's columns: a page. Up to
	// here the table is as if all had been waited for.
	headNodes = 1000
	// flushNodes is after how many rows what is printed is on its way: it divides a page.
	flushNodes = 250
)

// streamNodes prints the servers of the session's cluster as they come.
func (a *app) streamNodes(ctx context.Context, s *session, o lsOptions, order nodeOrder, p *nodePrinter) error {
	done := a.ui.waiting("cluster " + text.Line(s.cluster))
	defer done()
	client, err := a.connectCluster(ctx, s, s.cluster)
	if err != nil {
		return err
	}
	defer client.Close()
	request := o.request()
	request.Sort = order.streams()
	p.streams, p.head, p.names = request.Sort != "", nil, nil
	for node, failure := range client.Nodes(ctx, request) {
		if err = failure; err != nil {
			break
		}
		if err := p.take(node); err != nil {
			return err
		}
		if p.begun {
			done()
		}
	}
	if err != nil && !p.begun {
		return err
	}
	a.rememberHosts(s, p.names, err == nil && o.selectsAll())
	failure := p.finish(order)
	if err != nil {
		return &begunError{err} // what is printed cannot be printed again
	}
	return failure
}

// take is given the servers one by one.
func (p *nodePrinter) take(n *api.Node) error {
	if len(p.names) < maxCachedNames {
		p.names = append(p.names, n.Spec.Hostname)
	}
	if p.begun {
		return p.add(placedNode{node: n})
	}
	p.head = append(p.head, n)
	if len(p.head) == headNodes && p.streams {
		head := placed(p.head)
		p.head = nil
		return p.begin(head)
	}
	return nil
}

// finish prints what take has kept back, and the end.
func (p *nodePrinter) finish(order nodeOrder) error {
	if !p.begun {
		order.sort(p.head)
		if err := p.begin(placed(p.head)); err != nil {
			return err
		}
		if len(p.head) == 0 && p.format == formatText {
			p.app.ui.say("No server matches, or your roles show you none.")
		}
	}
	return p.end()
}

// placedNode is a server and where it is, if that is to be printed.
type placedNode struct {
	proxy, cluster string
	node           *api.Node
}

// placed are nodes of the one place.
func placed(nodes []*api.Node) []placedNode {
	list := make([]placedNode, len(nodes))
	for i, n := range nodes {
		list[i].node = n
	}
	return list
}

// nodePrinter prints servers in some format, as they come.
type nodePrinter struct {
	app     *app
	format  string
	verbose bool
	places  bool // print where each is

	streams bool        // what is taken is in order
	head    []*api.Node // what sets the widths
	names   []string    // for completion
	begun   bool
	b       *bufio.Writer
	table   table
	widths  []int
	data    *dataStream
	rows    int
}

// begin prints the first servers, from which the columns of a table get their widths.
func (p *nodePrinter) begin(head []placedNode) error {
	p.begun, p.b = true, bufio.NewWriterSize(p.app.out, 32<<10)
	switch p.format {
	case formatJSON, formatYAML:
		p.data = &dataStream{b: p.b, format: p.format}
	case formatText:
		p.table = nodeTable(p.verbose, p.places)
		if !p.verbose {
			p.table.width = stdoutWidth(p.app.io)
		}
		for _, n := range head {
			p.table.add(p.cells(n)...)
		}
		p.widths = p.table.begin(p.b)
		p.table.rows = nil
		return p.b.Flush()
	}
	for _, n := range head {
		if err := p.add(n); err != nil {
			return err
		}
	}
	return p.b.Flush()
}

// add prints one more.
func (p *nodePrinter) add(n placedNode) (err error) {
	switch {
	case p.format == formatText:
		p.pushRow(p.cells(n))
	case p.format == formatNames:
		p.name(n.node)
	case p.places:
		err = p.data.add(struct {
			Proxy   string    `json:"proxy"`
			Cluster string    `json:"cluster"`
			Node    *api.Node `json:"node"`
		}{n.proxy, n.cluster, n.node})
	default:
		err = p.data.add(n.node)
	}
	if p.rows++; p.rows%flushNodes == 0 && err == nil {
		err = p.b.Flush()
	}
	return err
}

// end prints what comes after the last.
func (p *nodePrinter) end() error {
	switch {
	case p.data != nil:
		p.data.end()
	case p.format == formatText:
		_ = p.b.WriteByte('\n')
	}
	return p.b.Flush()
}

// pushRow prints a row that had no say in the widths. A name or an address that is longer
// pushes the rest of its row to the right, because a part of it would be of no use; labels
// are cut where the terminal ends.
func (p *nodePrinter) pushRow(cells []string) {
	over := 0
	for i, cell := range cells {
		cell = text.Cut(text.Line(cell), maxColumn)
		if i == len(cells)-1 {
			if p.table.width > 0 {
				cell = text.Cut(cell, max(p.widths[i]-over, minColumn))
			} else {
				cell = text.Line(cells[i])
			}
			_, _ = p.b.WriteString(cell)
			break
		}
		room := p.widths[i] - over - text.Width(cell)
		over = max(-room, 0)
		_, _ = p.b.WriteString(cell + strings.Repeat(" ", max(room, 0)+1))
	}
	_ = p.b.WriteByte('\n')
}

// name prints what can be given to other commands as a word; a name that would be
// taken for something else there is left out, and said.
func (p *nodePrinter) name(n *api.Node) {
	if !isWord(n.Spec.Hostname) {
		p.app.ui.warn("left out: a server named %s (ID %s)", text.Line(n.Spec.Hostname), text.Line(n.Metadata.Name))
		return
	}
	_, _ = p.b.WriteString(n.Spec.Hostname + "\n")
}

// isWord reports whether a server's name can be given to other commands.
func isWord(name string) bool {
	target, err := sshclient.ParseTarget(name)
	return err == nil && target.Host == name && !strings.ContainsAny(name, " \t'\"@")
}

func (p *nodePrinter) cells(n placedNode) []string {
	cells := nodeCells(n.node, p.verbose)
	if p.places {
		return append([]string{n.proxy, n.cluster}, cells...)
	}
	return cells
}

// nodeTable is a table without rows.
func nodeTable(verbose, places bool) table {
	titles := []string{"Node Name", "Address", "Labels"}
	if verbose {
		titles = []string{"Node Name", "Node ID", "Address", "Labels"}
	}
	if places {
		titles = append([]string{"Proxy", "Cluster"}, titles...)
	}
	return table{titles: titles, shrink: len(titles) - 1}
}

func nodeCells(n *api.Node, verbose bool) []string {
	labels := formatLabels(n.Labels(), verbose)
	if verbose {
		return []string{n.Spec.Hostname, n.Metadata.Name, nodeAddress(n), labels}
	}
	return []string{n.Spec.Hostname, nodeAddress(n), labels}
}

// writeNodes prints a table of all nodes.
func (a *app) writeNodes(w io.Writer, nodes []*api.Node, verbose bool) error {
	t := nodeTable(verbose, false)
	for _, n := range nodes {
		t.add(nodeCells(n, verbose)...)
	}
	return t.write(w)
}
