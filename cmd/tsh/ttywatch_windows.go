package main

import "os"

// canSuspend: nothing here would continue a program that was stopped.
const canSuspend = false

// watchTerminal has nothing to do: a console's modes end with the programs of its window,
// and cmd and PowerShell set their own.
func watchTerminal(*os.File, struct{}) (dismiss func()) { return func() {} }

func beWatcher([]string) bool { return false }

func ttyState(*os.File) struct{} { return struct{}{} }

func (t *rawTerminal) attend() {}

func (t *rawTerminal) suspend() {}
