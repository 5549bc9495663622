package credentials

// exposedDirs has nothing to say where access lists decide.
func exposedDirs(string) []string { return nil }

// exposedFile has nothing to say, either.
func exposedFile(string) []string { return nil }
