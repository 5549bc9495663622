package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPasswordLine bounds what is read from standard input.
const maxPasswordLine = 4096

// passwordOptions says where a password comes from.
type passwordOptions struct {
	stdin    bool
	generate bool
}

func (o *passwordOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.stdin, "password-stdin", false, "read the password from the first line of standard input")
	cmd.Flags().BoolVar(&o.generate, "generate", false, "make a password up and print it")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate")
}

// get returns the password, empty if one is to be made up: it is read from
// standard input if that is asked for, or typed twice if there is a terminal.
func (o *passwordOptions) get(cmd *cobra.Command) (string, error) {
	if o.stdin {
		return readLine(cmd.InOrStdin())
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if o.generate || !ok || !term.IsTerminal(int(in.Fd())) {
		return "", nil
	}
	first, err := typed(cmd.Context(), cmd.ErrOrStderr(), in, "password: ")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", errors.New("the password is empty")
	}
	second, err := typed(cmd.Context(), cmd.ErrOrStderr(), in, "once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password on standard input")
	}
	return line, nil
}

// typed reads a line with echo off; an interrupt restores the terminal.
func typed(ctx context.Context, w io.Writer, in *os.File, prompt string) (string, error) {
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(w, prompt)
	defer fmt.Fprintln(w)
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return string(a.line), a.err
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(fd, before))
	}
}
