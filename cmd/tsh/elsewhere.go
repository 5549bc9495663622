package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// elsewhereCommands are commands of other clients that this one leaves to them. Whatever
// follows the name, the answer is the same.
func elsewhereCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, c := range [][3]string{
		{"kube", "kubectl", "Kubernetes clusters"},
		{"db", "databases", "databases"},
		{"apps", "app", "applications"},
	} {
		all = append(all, &cobra.Command{
			Use: c[0], Aliases: c[1:2], Hidden: true, DisableFlagParsing: true,
			Short: "Not here: " + c[2] + " are for the official client, which works on the same login",
			RunE: func(*cobra.Command, []string) error {
				return withHint(fmt.Errorf("this tsh connects to servers; %s are for the official client", c[2]),
					"it works on the same login, in the same directory: log in here, and run its tsh %s …", c[0])
			},
		})
	}
	return all
}
