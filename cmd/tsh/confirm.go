package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// confirm asks a question on the controlling terminal that is answered with yes or no;
// whatever is not a yes is a no. login.ErrCannotAsk if there is no terminal.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	tty, err := openTTY()
	if err != nil {
		return false, fmt.Errorf("%w: %w", login.ErrCannotAsk, err)
	}
	defer tty.close()
	typed, err := tty.readShown(ctx, text.Line(question)+" [y/N]: ")
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(typed))), err
}
