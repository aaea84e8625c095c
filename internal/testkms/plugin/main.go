// Command plugin is a key management system for tests: sigstore's plugin protocol over a key file.
// A reference test:///KEY names the file KEY; where KEY.mode exists, the system behaves as it says.
package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "test plugin:", err)
		os.Exit(1)
	}
}

func run() error {
	args, err := handler.GetPluginArgs(os.Args)
	if err != nil {
		return err
	}
	path := args.InitOptions.KeyResourceID
	mode, _ := os.ReadFile(path + ".mode") // none: it behaves well
	switch strings.TrimSpace(string(mode)) {
	case "down":
		return handler.WriteErrorResponse(os.Stdout, errors.New("the HSM is\nout of reach"))
	case "hang":
		time.Sleep(time.Hour)
	case "garbage":
		_, err := os.Stdout.WriteString("Segmentation fault")
		return err
	case "empty": // well-formed, without the member that was asked for
		return handler.WriteResponse(os.Stdout, new(common.PluginResp))
	case "other-key":
		path += ".other"
	}
	sv, err := signature.LoadSignerVerifierFromPEMFile(path, args.InitOptions.HashFunc, nil)
	if err != nil {
		return handler.WriteErrorResponse(os.Stdout, err)
	}
	stdin := io.Reader(os.Stdin)
	if strings.TrimSpace(string(mode)) == "other-message" {
		stdin = strings.NewReader("other message")
	}
	_, err = handler.Dispatch(os.Stdout, stdin, args, &system{SignerVerifier: sv})
	return err
}

// system is a key as kms.SignerVerifier.
type system struct{ signature.SignerVerifier }

var _ kms.SignerVerifier = (*system)(nil)

func (*system) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.New("keys are made by tests")
}

func (*system) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.New("not asked for by the protocol")
}

func (*system) SupportedAlgorithms() []string { return []string{"file"} }
func (*system) DefaultAlgorithm() string      { return "file" }
