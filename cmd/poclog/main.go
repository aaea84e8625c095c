// Command poclog publishes, logs, witnesses, audits and checks Proofs of Cloud.
//
// Rules that all commands keep:
//   - Exit status 0 is yes, 1 is no, 2 is wrong usage, 3 is "could not decide": a file, the network
//     or evidence was not to be had.
//   - Standard output, and --json with its versioned schema, are stable; standard error is for
//     people.
//   - "-" is standard input or output; -o never overwrites a file without --force.
//   - A flag goes before its POCLOG_* variable, and that before the file in the XDG config folder.
//     There is no other configuration.
//   - Colour and progress appear on a terminal only.
//   - Text from outside is printed with its control and format characters as \u escapes
//     (internal/terminal); bytes of files are not changed.
//
// Each command has a file of its own that parses flags, calls a package and prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/poclog/poclog/internal/terminal"
)

// Exit statuses.
const (
	exitNo        = 1
	exitUsage     = 2
	exitUndecided = 3
)

// An exitError carries the status with which the process ends, and a hint for people.
type exitError struct {
	status int
	err    error
	hint   string
	told   bool // the command has shown it to people
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usagef is an error in how the command was called.
func usagef(format string, args ...any) error {
	return &exitError{status: exitUsage, err: fmt.Errorf(format, args...)}
}

// undecided marks an error that kept the command from deciding: I/O, network, evidence that is not
// at hand. No error stays none.
func undecided(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{status: exitUndecided, err: err}
}

// hint adds what to do about an error. The status stays, or becomes 1.
func hint(err error, format string, args ...any) error {
	status := exitNo
	if e, ok := errors.AsType[*exitError](err); ok {
		status = e.status
	}
	return &exitError{status: status, err: err, hint: fmt.Sprintf(format, args...)}
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "poclog",
		Short: "The Proof-of-Cloud log: where confidential VMs ran, in a log that anybody can check",
		Long: "poclog appraises Proofs of Cloud (evidence of what a confidential VM runs, on which chip, in which data center), keeps them\n" +
			"in a Merkle log, and checks the receipts offline.",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,

		PersistentPreRun: watch,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Publish and check:"},
		&cobra.Group{ID: "serve", Title: "Run a service:"},
		&cobra.Group{ID: "learn", Title: "Learn and try:"},
	)
	for group, cmds := range commands() {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("learn")
	root.SetCompletionCommandGroupID("learn")
	root.InitDefaultCompletionCmd()
	exampleCompletions(root)
	usageErrors(root)
	completeFlags(root)
	return root
}

// exampleCompletions gives cobra's own commands what ours have: an example in every help.
func exampleCompletions(root *cobra.Command) {
	examples := map[string]string{
		"bash": "  source <(poclog completion bash)", "zsh": "  poclog completion zsh > \"${fpath[1]}/_poclog\"",
		"fish": "  poclog completion fish | source", "powershell": "  poclog completion powershell | Out-String | Invoke-Expression",
	}
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		for _, shell := range c.Commands() {
			shell.Example = examples[shell.Name()]
		}
	}
}

// usageErrors makes wrong arguments exit with status 2, whatever command they are given to.
func usageErrors(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(cmd *cobra.Command, a []string) error {
			if err := args(cmd, a); err != nil {
				return hint(usagef("%w", err), "usage: %s", cmd.UseLine())
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(cmd *cobra.Command, a []string) error {
			if len(a) == 0 {
				return cmd.Help()
			}
			return hint(usagef("unknown command %q for %q", a[0], cmd.CommandPath()), "%s%s --help lists the commands", didYouMean(nearest(a[0], subcommands(cmd))), cmd.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

func subcommands(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return names
}

func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return "did you mean " + near + "? "
}

// flagError is wrong usage, with the flag that was probably meant.
func flagError(c *cobra.Command, err error) error {
	wrong, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return usagef("%w", err)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	near := nearest(wrong, names)
	if near != "" {
		near = "--" + near
	}
	return hint(usagef("%w", err), "%s%s --help lists the flags", didYouMean(near), c.CommandPath())
}

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit status.
func run(args []string) int {
	// Whatever is printed may hold text from outside. Bytes that are no text go around these
	// writers: see rawOutput.
	return runTo(textWriter(os.Stdout), textWriter(os.Stderr), args)
}

func runTo(stdout, stderr *terminal.Writer, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process, whatever it does
	root := newRootCmd()
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	r := &course{ended: make(chan struct{})}
	err := r.interrupted(ctx, root.ExecuteContext(context.WithValue(ctx, courseKey{}, r)))
	close(r.ended)
	if err != nil {
		printError(stderr, err)
	}
	if ferr := errors.Join(stdout.Flush(), stderr.Flush()); err == nil && ferr != nil {
		return exitUndecided
	}
	return statusOf(err)
}

// textWriter puts the filter around a stream. It has colours on a terminal, unless NO_COLOR is set
// (https://no-color.org) or the terminal is a dumb one.
func textWriter(f *os.File) *terminal.Writer {
	if isTerminal(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		return terminal.NewColourWriter(f)
	}
	return terminal.NewWriter(f)
}

// printError tells people what failed, and what to do about it. Further lines stand under the
// first: a text from outside cannot look like another message.
func printError(w io.Writer, err error) {
	var e *exitError
	if errors.As(err, &e) && e.told {
		return
	}
	lines := func(label, text string) {
		for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			if i == 0 {
				labelled(w, label+": ", line)
			} else {
				labelled(w, "  ", line)
			}
		}
	}
	lines("poclog", err.Error())
	if e != nil && e.hint != "" {
		lines("hint", e.hint)
	}
}

// statusOf returns the exit status of an error.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	return exitNo
}
