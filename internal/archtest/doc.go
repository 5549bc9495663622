// Package archtest has no code, only tests of how the module is built: which
// package may import which, what the parts that programs build on may link,
// and the budgets that keep files, functions and packages small. They read the
// sources of the whole module; nothing has to be added for a new file, and a
// new directory fails until it has been given its place in the table of floors.
package archtest
