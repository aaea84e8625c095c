package signer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/testkms"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a test's own
	}
	return v
}

func ecdsaKey(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }
func ed25519Key() ed25519.PrivateKey              { _, k, _ := ed25519.GenerateKey(rand.Reader); return k }

func write(t *testing.T, mode os.FileMode, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, file, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func pkcs8(key any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
}

// sealed signs a bundle and verifies the envelope under a policy that lists the signers.
func sealed(t *testing.T, signers ...*signer.Signer) {
	t.Helper()
	bundle := []byte("bundle")
	file, err := signer.Seal(t.Context(), &poclog.Submission{Bundle: bundle}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	var keys []*poclog.PublisherKey
	for _, s := range signers {
		keys = append(keys, s.Key())
	}
	got, err := must(dsse.New(listing(keys...))).Verify(file, bundle)
	if err != nil || len(got) != len(signers) {
		t.Errorf("%d of %d signers: %v", len(got), len(signers), err)
	}
}

// listing is a policy's list that wants all keys.
func listing(keys ...*poclog.PublisherKey) *poclog.Publishers {
	p := &poclog.Publishers{Threshold: len(keys)}
	for _, k := range keys {
		p.Keys = append(p.Keys, k.String())
	}
	return p
}

func TestEveryKindOfKeyFileSigns(t *testing.T) {
	var signers []*signer.Signer
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(ecdsaKey(elliptic.P256())))})
	generated, _, err := signer.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range [][]byte{pkcs8(ed25519Key()), pkcs8(ecdsaKey(elliptic.P256())), pkcs8(ecdsaKey(elliptic.P384())), sec1, generated} {
		s, err := signer.Open(t.Context(), write(t, 0o600, file), nil)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	sealed(t, signers...)
}

func TestEncryptedKeyNeedsItsPassword(t *testing.T) {
	password := []byte("correct horse")
	ours, key, err := signer.Generate(password)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"sigstore": ours}
	if openssl, err := exec.LookPath("openssl"); err == nil {
		c := exec.Command(openssl, "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:"+string(password))
		c.Stdin = bytes.NewReader(pkcs8(ecdsaKey(elliptic.P256())))
		files["openssl"] = must(c.Output())
	} else {
		t.Log("openssl is not here: its encrypted keys are not tried")
	}
	for name, file := range files {
		path := write(t, 0o600, file)
		asked := 0
		s, err := signer.Open(t.Context(), path, func(p string) ([]byte, error) { asked++; return password, nil })
		if err != nil || asked != 1 {
			t.Fatalf("%s: %v, asked %d times", name, err, asked)
		}
		if name == "sigstore" && s.Key().Digest != key.Digest {
			t.Error("another key than was made")
		}
		sealed(t, s)
		for _, wrong := range []signer.Password{nil, func(string) ([]byte, error) { return []byte("wrong"), nil }, func(string) ([]byte, error) { return nil, nil }} {
			if _, err := signer.Open(t.Context(), path, wrong); err == nil {
				t.Errorf("%s: opens without its password", name)
			}
		}
	}
}

func TestKeyFileThatIsNoneOrOpenToOthersIsRefused(t *testing.T) {
	good := pkcs8(ed25519Key())
	for name, path := range map[string]string{
		"readable by the group": write(t, 0o640, good),
		"readable by all":       write(t, 0o604, good),
		"no PEM":                write(t, 0o600, []byte("secret")),
		"a public key":          write(t, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(ed25519Key().Public()))})),
		"RSA":                   write(t, 0o600, pkcs8(must(rsa.GenerateKey(rand.Reader, 2048)))),
		"P-521":                 write(t, 0o600, pkcs8(ecdsaKey(elliptic.P521()))),
		"a huge file":           write(t, 0o600, bytes.Repeat(good, 1000)),
		"a folder":              t.TempDir(),
		"nothing":               filepath.Join(t.TempDir(), "none"),
	} {
		_, err := signer.Open(t.Context(), path, nil)
		if err == nil {
			t.Errorf("%s: opens", name)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "secret") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestPluginSigns(t *testing.T) {
	system := testkms.New(t, ed25519Key())
	for name, key := range map[string]crypto.PrivateKey{"Ed25519": ed25519Key(), "P-256": ecdsaKey(elliptic.P256()), "P-384": ecdsaKey(elliptic.P384())} {
		system.SetKey(t, key)
		s, err := signer.Open(t.Context(), system.Ref, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sealed(t, s)
	}
}

func TestPluginThatFailsOrLiesGivesAnErrorAndNoSignature(t *testing.T) {
	system := testkms.New(t, ed25519Key())
	system.Other(t, ed25519Key())
	s, err := signer.Open(t.Context(), system.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{testkms.Down, testkms.Garbage, testkms.Empty, testkms.OtherKey, testkms.OtherMessage} {
		system.Behave(t, mode)
		sig, err := s.Sign(t.Context(), []byte("message"))
		if err == nil || len(sig) > 0 {
			t.Errorf("%s: signature %x", mode, sig)
		} else if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, system.Ref) {
			t.Errorf("%s: %q", mode, text)
		}
		if _, err := signer.Open(t.Context(), system.Ref, nil); err == nil && mode != testkms.OtherKey && mode != testkms.OtherMessage {
			t.Errorf("%s: opens", mode)
		}
	}
	system.Behave(t, testkms.Good)
	if _, err := s.Sign(t.Context(), []byte("message")); err != nil {
		t.Errorf("after it recovered: %v", err)
	}
}

func TestPluginThatHangsIsNotWaitedFor(t *testing.T) {
	system := testkms.New(t, ed25519Key())
	s, err := signer.Open(t.Context(), system.Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	system.Behave(t, testkms.Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Sign(ctx, []byte("message")); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("%v: want no answer", err)
	}
	system.Behave(t, testkms.Good)
	if _, err := s.Sign(t.Context(), []byte("message")); err != nil {
		t.Errorf("after it recovered: %v", err)
	}
}

// script puts a plugin of a name on the PATH.
func script(t *testing.T, name, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sigstore-kms-"+name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// A plugin's own children keep its output open when it is killed, as those of a wrapper do. They
// end with it; the key signs again once the plugin does.
func TestQuestionsWithoutAnswerDoNotPileUp(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	for name, c := range map[string]struct {
		text  string
		times int // eight run at once
	}{
		"it waits":          {"sleep 60 2>/dev/null & echo $! >>" + pids + "; wait\n", 9},
		"it has ended":      {"sleep 60 2>/dev/null & echo $! >>" + pids + "\n", 2},
		"it is its child":   {"echo $$ >>" + pids + "; exec sleep 60\n", 2},
		"its child left it": {"setsid sleep 60 2>/dev/null & echo $! >>" + pids + "; wait\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			script(t, "stuck", c.text)
			private := ed25519Key()
			s, err := signer.Pinned("stuck://key", must(poclog.NewPublisherKey(private.Public())))
			if err != nil {
				t.Fatal(err)
			}
			for range c.times {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				_, err := s.Sign(ctx, []byte("message"))
				cancel()
				if err == nil || strings.Contains(err.Error(), "earlier questions") {
					t.Fatalf("%v", err)
				}
			}
			answer := must(json.Marshal(map[string]any{"signMessage": map[string]any{"signature": ed25519.Sign(private, []byte("message"))}}))
			script(t, "stuck", "echo '"+string(answer)+"'\n")
			if _, err := s.Sign(t.Context(), []byte("message")); err != nil {
				t.Errorf("after it recovered: %v", err)
			}
		})
	}
	left := 0
	for _, pid := range strings.Fields(string(must(os.ReadFile(pids)))) {
		line, err := os.ReadFile("/proc/" + pid + "/cmdline")
		if err != nil || !strings.Contains(string(line), "sleep") {
			continue
		}
		left++
		if err := exec.Command("kill", "-KILL", pid).Run(); err != nil {
			t.Error(err)
		}
	}
	if left > 2 {
		t.Errorf("%d processes are left over: want those alone that left their group", left)
	}
}

func TestPluginThatWritesWithoutEndIsStopped(t *testing.T) {
	for name, text := range map[string]string{
		"to standard output": "exec yes\n",
		"to standard error":  "yes >&2 & sleep 0.3; kill $!; exit 0\n",
	} {
		script(t, "endless", text)
		var notes bytes.Buffer
		o := signer.Opener{Notes: &notes}
		_, err := o.Open(t.Context(), "endless://key")
		if err == nil || len(err.Error()) > 1000 || notes.Len() > 1<<16 {
			t.Errorf("%s: %.200v, %d bytes told", name, err, notes.Len())
		}
		if name == "to standard output" && !strings.Contains(err.Error(), "over 1048576 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A plugin gets what it needs of our environment, and no password of ours.
func TestPluginsGetACleanEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"POCLOG_KEY_PASSWORD": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "VAULT_TOKEN": "secret", "GITHUB_TOKEN": "secret", "LC_ALL": "C", "EXTRA": "yes", "MORE_ONE": "yes",
		"POCLOG_KMS_ENV": "EXTRA,MORE_",
	} {
		t.Setenv(name, value)
	}
	for system, want := range map[string]string{"clean": "EXTRA HOME LC_ALL MORE_ONE PATH", "hashivault": "EXTRA HOME LC_ALL MORE_ONE PATH VAULT_TOKEN"} {
		file := filepath.Join(t.TempDir(), "env")
		script(t, system, "env >"+file+"\n")
		if _, err := signer.Open(t.Context(), system+"://key", nil); err == nil {
			t.Error("it gave no key")
		}
		var names []string
		for _, line := range strings.Split(string(must(os.ReadFile(file))), "\n") {
			name, value, _ := strings.Cut(line, "=")
			if strings.Contains(value, "secret") || strings.HasPrefix(name, "POCLOG") || slices.Contains([]string{"PATH", "HOME", "LC_ALL", "EXTRA", "MORE_ONE"}, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s gets %s: want %s", system, got, want)
		}
	}
}

// What a plugin says to people is passed on, and stands in the error where it fails.
func TestPluginsSpeakToPeople(t *testing.T) {
	script(t, "talking", "echo 'touch the \033[31mtoken' >&2; exit 1\n")
	var notes bytes.Buffer
	o := signer.Opener{Notes: &notes}
	if _, err := o.Open(t.Context(), "talking://key"); err == nil || !strings.Contains(err.Error(), "touch the") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
	if !strings.Contains(notes.String(), "touch the") {
		t.Errorf("told %q", notes.String())
	}
}

func TestReferenceNamesAPluginAndNothingElse(t *testing.T) {
	key := must(poclog.NewPublisherKey(ed25519Key().Public()))
	for _, ref := range []string{"", "file", "://key", "x/../../bin/sh://key", "../evil://key", "UPPER://key", "a b://key", "a://key\n", "a://", "a://" + strings.Repeat("k", 2000)} {
		if _, err := signer.Pinned(ref, key); err == nil {
			t.Errorf("%.40q is taken", ref)
		}
		if _, err := signer.Open(t.Context(), ref, nil); err == nil {
			t.Errorf("%.40q opens", ref)
		}
	}
	if _, err := signer.Open(t.Context(), "nosuchsystem://key", nil); err == nil || !strings.Contains(err.Error(), "sigstore-kms-nosuchsystem") {
		t.Errorf("%v: want the name of the plugin that is missing", err)
	}
}

func TestCountersignAddsASignatureOnce(t *testing.T) {
	var signers []*signer.Signer
	for range 2 {
		file, _, err := signer.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, must(signer.Open(t.Context(), write(t, 0o600, file), nil)))
	}
	sub := &poclog.Submission{Bundle: []byte("bundle"), Judged: poclog.UnixTime(1780922561)}
	both := must(dsse.New(listing(signers[0].Key(), signers[1].Key())))
	one, err := signer.Seal(t.Context(), sub, signers[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Verify(one, sub.Bundle); err == nil {
		t.Error("one of two is enough")
	}
	two, err := signer.Countersign(t.Context(), one, signers[1])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.Verify(two, sub.Bundle); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := signer.Countersign(t.Context(), two, signers[1]); err == nil {
		t.Error("a key signs twice")
	}
	if _, err := signer.Seal(t.Context(), sub, signers[0], signers[0]); err == nil {
		t.Error("a key signs twice at once")
	}
	if _, err := signer.Seal(t.Context(), sub); err == nil {
		t.Error("nobody signs")
	}
	if _, err := signer.Countersign(t.Context(), sub.Bundle, signers[0]); err == nil {
		t.Error("what is no envelope is signed")
	}
}
