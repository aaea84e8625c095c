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

// errInterrupted ends a command whose user does not answer, but interrupts.
var errInterrupted = errors.New("interrupted")

// interruptible waits for a read, which nothing but its input ends, or for the end of the context.
// The read is left alone then: the process ends.
func interruptible[T any](ctx context.Context, read func() (T, error)) (answer T, err error) {
	type reply struct {
		answer T
		err    error
	}
	done := make(chan reply, 1)
	go func() {
		answer, err := read()
		done <- reply{answer, err}
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		return answer, errInterrupted
	}
}

// canAsk refuses where nobody can answer.
func canAsk(cmd *cobra.Command) error {
	if !isTerminal(cmd.InOrStdin()) {
		return hint(usagef("there is no terminal to ask"), "--yes publishes without asking")
	}
	return nil
}

// agrees asks a question that is answered by yes or no. No answer is no.
func agrees(cmd *cobra.Command, question string) (bool, error) {
	if err := canAsk(cmd); err != nil {
		return false, err
	}
	fmt.Fprint(cmd.ErrOrStderr(), question+" [y/N] ")
	answer, err := interruptible(cmd.Context(), func() (string, error) { return bufio.NewReader(cmd.InOrStdin()).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, undecided(err)
	}
	a := strings.ToLower(strings.TrimSpace(answer))
	return a == "y" || a == "yes", nil
}

// passwordVariable holds the password of an encrypted key where nobody is there to be asked.
const passwordVariable = "POCLOG_KEY_PASSWORD"

// password returns the password of a key: of the variable or, on a terminal, as it is typed.
func password(cmd *cobra.Command, question string) ([]byte, error) {
	if p, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(p), nil
	}
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !isTerminal(f) {
		return nil, fmt.Errorf("it needs a password, and there is no terminal to ask: %s", passwordVariable)
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, undecided(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: ", question)
	p, err := interruptible(cmd.Context(), func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
	fmt.Fprintln(cmd.ErrOrStderr())
	if errors.Is(err, errInterrupted) {
		// What is typed next is to be seen again.
		return nil, undecided(errors.Join(err, term.Restore(int(f.Fd()), before)))
	}
	return p, err
}
