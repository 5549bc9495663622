package main

// checkWritable finds out nothing: access lists are known by trying only, and trying
// would leave something behind.
func checkWritable(string) error { return nil }
