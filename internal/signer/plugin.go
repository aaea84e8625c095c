package signer

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/encoding"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/poclog/poclog/internal/terminal"
)

// Bounds of a plugin.
const (
	maxAnswer = 1 << 20         // bytes of its standard output
	maxNotes  = 1 << 16         // bytes of its standard error that are passed on
	maxTold   = 400             // bytes of its standard error in an error
	lastWait  = 1 * time.Second // for what outlives the plugin's process group, and still holds its output
)

// A plugin is a program that speaks sigstore's plugin protocol: the client of sigstore's own module
// leaves the plugin's children running, waits for them, gives them our environment and terminal,
// and reads without a bound.
type plugin struct {
	name  string // the scheme of the reference
	init  common.InitOptions
	notes io.Writer // gets what the plugin says to people; nil drops it
}

func newPlugin(ref string, hash crypto.Hash, notes io.Writer) (*plugin, error) {
	if err := CheckRef(ref); err != nil {
		return nil, err
	}
	name, key, _ := strings.Cut(ref, "://")
	if hash == 0 {
		hash = crypto.SHA256 // what sigstore's own tools say; Ed25519 has no use for it
	}
	// No deadline stands here: it would be that of all later calls.
	return &plugin{name: name, notes: notes, init: common.InitOptions{
		ProtocolVersion: common.ProtocolVersion, KeyResourceID: key, HashFunc: hash, RPCOptions: encoding.PackRPCOptions(nil),
	}}, nil
}

func (p *plugin) publicKey(ctx context.Context) (crypto.PublicKey, error) {
	resp, err := p.ask(ctx, &common.MethodArgs{
		MethodName: common.PublicKeyMethodName,
		PublicKey:  &common.PublicKeyArgs{PublicKeyOptions: encoding.PackPublicKeyOptions([]signature.PublicKeyOption{options.WithContext(ctx)})},
	}, nil)
	if err != nil {
		return nil, err
	}
	if resp.PublicKey == nil {
		return nil, errors.New("its answer has no public key")
	}
	return cryptoutils.UnmarshalPEMToPublicKey(resp.PublicKey.PublicKeyPEM)
}

func (p *plugin) sign(ctx context.Context, msg []byte) ([]byte, error) {
	resp, err := p.ask(ctx, &common.MethodArgs{
		MethodName:  common.SignMessageMethodName,
		SignMessage: &common.SignMessageArgs{SignOptions: encoding.PackSignOptions([]signature.SignOption{options.WithContext(ctx)})},
	}, msg)
	if err != nil {
		return nil, err
	}
	if resp.SignMessage == nil {
		return nil, errors.New("its answer has no signature")
	}
	return resp.SignMessage.Signature, nil
}

// ask runs the program once. It returns no later than lastWait after the context's end, and then
// nothing of the program's process group runs.
func (p *plugin) ask(ctx context.Context, args *common.MethodArgs, stdin []byte) (*common.PluginResp, error) {
	text, err := json.Marshal(&common.PluginArgs{InitOptions: &p.init, MethodArgs: args})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told := &head{max: maxTold}
	stdout := &head{max: maxAnswer, full: stop}
	cmd := exec.CommandContext(ctx, cliplugin.PluginBinaryPrefix+p.name, common.ProtocolVersion, string(text))
	cmd.Env = environment(p.name, os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, told
	if p.notes != nil {
		cmd.Stderr = io.MultiWriter(told, &passing{to: p.notes, left: maxNotes})
	}
	cmd.WaitDelay = lastWait
	ownGroup(cmd)
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		killGroup(cmd) // it answered, and left children that hold its output
		err = nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		err = nil // its answer says why
	}
	switch {
	case stdout.over:
		return nil, fmt.Errorf("its answer has over %d bytes", maxAnswer)
	case err != nil:
		return nil, told.explain(err)
	}
	resp := new(common.PluginResp)
	if err := json.Unmarshal(stdout.b, resp); err != nil {
		return nil, told.explain(fmt.Errorf("its answer: %w", err))
	}
	if resp.ErrorMessage != "" {
		return nil, fmt.Errorf("it answers: %s", resp.ErrorMessage)
	}
	return resp, nil
}

// A head keeps the beginning of what is written to it, and takes the rest.
type head struct {
	max  int
	b    []byte
	over bool
	full func() // called when there is more than max; nil is nothing
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.max-len(h.b))
	h.b = append(h.b, p[:n]...)
	if n < len(p) {
		if h.over = true; h.full != nil {
			h.full()
		}
	}
	return len(p), nil
}

// explain adds to an error what the program said to people.
func (h *head) explain(err error) error {
	if said := terminal.Line(string(h.b), maxTold); said != "" {
		return fmt.Errorf("%w (it says: %s)", err, said)
	}
	return err
}

// A passing passes a bounded number of bytes on. That they go nowhere is no failure of the program
// that wrote them.
type passing struct {
	to   io.Writer
	left int
}

func (w *passing) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	_, _ = w.to.Write(p[:n])
	return len(p), nil
}

// environmentVariable names further variables that plugins get, separated by commas.
const environmentVariable = "POCLOG_KMS_ENV"

// inherited are the variables of our environment that every plugin gets; those that end in "_" are
// beginnings of names. A plugin of a system also gets what its vendor's tools read. Nothing of
// poclog's own is among them: POCLOG_KEY_PASSWORD opens another key.
var (
	inherited = []string{
		"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_", "TZ", "TMPDIR", "XDG_", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SYSTEMROOT",
	}
	ofSystem = map[string][]string{
		"awskms":     {"AWS_"},
		"azurekms":   {"AZURE_"},
		"gcpkms":     {"GOOGLE_", "CLOUDSDK_", "GCE_METADATA_"},
		"hashivault": {"VAULT_", "TRANSIT_SECRET_ENGINE_PATH"},
		"openbao":    {"BAO_", "VAULT_"},
	}
)

// environment returns what a plugin gets of our environment.
func environment(name string, all []string) (env []string) {
	allowed := slices.Concat(inherited, ofSystem[name])
	for _, v := range all {
		if names, ok := strings.CutPrefix(v, environmentVariable+"="); ok {
			allowed = append(allowed, strings.Split(names, ",")...)
		}
	}
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(allowed, func(a string) bool {
			return a != "" && (a == name || strings.HasSuffix(a, "_") && strings.HasPrefix(name, a))
		}) {
			env = append(env, v)
		}
	}
	return env
}
