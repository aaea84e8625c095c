package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/pause"
)

// When people are told what a submission waits for: logs publish within a second or two.
const (
	firstNews = 1500 * time.Millisecond
	laterNews = 2 * time.Second
)

// A sender submits to a log, and tells people what it waits for.
type sender struct {
	cmd *cobra.Command
	log *client.Client
}

// Submit is the client's. While it takes long, the log is asked how it is.
func (s *sender) Submit(ctx context.Context, sub *poclog.Submission) (*client.Submitted, error) {
	ctx, stop := context.WithCancel(ctx)
	defer muteWaiter(ctx)()
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.tellWaiting(ctx)
	}()
	got, err := s.log.Submit(ctx, sub)
	stop()
	<-told
	return got, err
}

// tellWaiting says what the log waits for, whenever that changes.
func (s *sender) tellWaiting(ctx context.Context) {
	said := ""
	for after := firstNews; ; after = laterNews {
		if pause.For(ctx, after) != nil {
			return
		}
		if text := s.waitingFor(ctx); text != said && ctx.Err() == nil {
			fmt.Fprintln(s.cmd.ErrOrStderr(), "waiting for the log: "+text)
			said = text
		}
	}
}

// waitingFor is what the log says of itself.
func (s *sender) waitingFor(ctx context.Context) string {
	h, err := s.log.Health(ctx)
	if err != nil {
		return err.Error()
	}
	if list := slices.Concat(h.Reasons, h.Warnings); len(list) > 0 {
		return strings.Join(list, "; ")
	}
	return "it is to publish the entry"
}

// submitAndKeep submits and keeps the receipt.
func (s *sender) submitAndKeep(sub *poclog.Submission, o *output) (*client.Submitted, error) {
	got, err := s.Submit(s.cmd.Context(), sub)
	if got == nil {
		return nil, fromLog(err)
	}
	return got, keepReceipt(s.cmd, o, got.Receipt, err)
}

// keepReceipt keeps a receipt, also where the log's history could not be followed: it is evidence.
func keepReceipt(cmd *cobra.Command, o *output, file []byte, err error) error {
	if file != nil {
		if werr := o.write(cmd, file); werr != nil {
			return werr
		}
	}
	return fromLog(err)
}

// fromLog gives a log's refusal its exit status: what it refuses is no, what it could not do is
// undecided. It adds what to do. No error stays none.
func fromLog(err error) error {
	var p *client.Problem
	var split *client.SplitView
	var history *client.HistoryError
	switch {
	case errors.As(err, &split):
		return hint(err, "show the file to others: `poclog verify %s` convinces them", split.File)
	case errors.As(err, &history):
		return hint(undecided(err), "%s", aboutHistory(history))
	case errors.As(err, &p) && !p.Temporary():
		if more := explainHint(p.Check); more != "" {
			return hint(err, "%s", more)
		}
		return err
	}
	return undecided(err)
}

// explainHint says where a check that refused is explained; "" if it is none of ours.
func explainHint(check string) string {
	if _, ok := explained(check); !ok {
		return ""
	}
	return fmt.Sprintf("`poclog explain %s` says what it proves, and what to do", check)
}

// aboutHistory says what may be the cause of a doubt, and the next step.
func aboutHistory(e *client.HistoryError) string {
	switch e.Doubt {
	case client.DoubtDamaged:
		return fmt.Sprintf("the file was damaged on this machine: restore it from a copy. If there is none, move it away (mv %s %s.damaged): this machine then forgets what the log showed before, and the next answer is believed", e.Name, e.Name)
	case client.DoubtOtherKey:
		return fmt.Sprintf("the log's key changed, the log was made anew under its old name, or --policy is another log's: ask its operator. If it was made anew, take its new policy and move the file away (mv %s %s.old); receipts of the old log stay valid under the old policy", e.Name, e.Name)
	}
	return fmt.Sprintf("the log was made anew, was restored from an older copy, or hides what it showed: ask its operator, and keep the file, for with the log's new checkpoint it is evidence. To begin again, move it away (mv %s %s.old)", e.Name, e.Name)
}
