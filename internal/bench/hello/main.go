// Command hello is the smallest Go program: the floor that start-up is
// measured against.
package main

import "fmt"

func main() { fmt.Println("hello") }
