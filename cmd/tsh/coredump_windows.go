package main

// keepOutOfCoreDumps has nothing to do: Windows writes a dump where an administrator
// has asked for it, and the program has no say in it.
func keepOutOfCoreDumps() {}
