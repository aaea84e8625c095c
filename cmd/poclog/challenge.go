package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
)

type challengeCmd struct {
	logFlags
	out         output
	profile     string
	ak          string
	userData    string
	asJSON      bool
	parsed      poclog.Profile
	userDigest  poclog.Digest
	akPublic    []byte
	needsPublic bool
}

func newChallengeCmd() *cobra.Command {
	v := new(challengeCmd)
	c := &cobra.Command{
		Use:   "challenge --profile PROFILE",
		Short: "Fetch a challenge from a log: the nonce that makes evidence fresh",
		Long: "Fetch the log's newest checkpoint, which nobody could have predicted, and make a challenge of it. The nonce and REPORTDATA are printed;\n" +
			"the challenge itself becomes an item of the bundle. The AK's TPMT_PUBLIC (--ak) goes into REPORTDATA where the VM sets it.",
		Example: "  poclog challenge --log https://log.example/2026 --profile gce-tdx-vtpm --ak ak.pub --user-data tls.pub -o challenge.json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return v.run(cmd) },
	}
	v.register(c)
	v.out.flags(c, "challenge")
	c.Flags().StringVar(&v.profile, "profile", "", "the profile under which evidence will be made")
	c.Flags().StringVar(&v.ak, "ak", "", "the AK's TPMT_PUBLIC")
	c.Flags().StringVar(&v.userData, "user-data", "", "what the proof is to speak for, such as a TLS public key")
	c.Flags().BoolVar(&v.asJSON, "json", false, "print JSON")
	return c
}

func (v *challengeCmd) prepare(cmd *cobra.Command) (err error) {
	if v.parsed, err = poclog.ParseProfile(v.profile); err != nil {
		return usagef("--profile: %w", err)
	}
	if err := v.out.check(); err != nil {
		return err
	}
	v.needsPublic = v.parsed == poclog.GCETDXvTPM || v.parsed == poclog.BareMetalTDXTPM
	if v.needsPublic && v.ak == "" {
		return usagef("profile %s binds the AK in REPORTDATA: --ak FILE with its TPMT_PUBLIC", v.parsed)
	}
	if !v.needsPublic {
		if err := unused(cmd, fmt.Sprintf("profile %s has no AK in REPORTDATA", v.parsed), "ak"); err != nil {
			return err
		}
	}
	if v.ak != "" {
		if v.akPublic, err = readFile(cmd, v.ak, 4096); err != nil {
			return err
		}
		if v.akPublic, err = importer.ReadPublic(v.akPublic); err != nil {
			return mistaken(usagef("%s: %w", v.ak, err))
		}
	}
	v.userDigest, err = readUserData(cmd, v.userData)
	return err
}

func (v *challengeCmd) run(cmd *cobra.Command) error {
	if err := v.prepare(cmd); err != nil {
		return err
	}
	cl, err := v.client(cmd)
	if err != nil {
		return err
	}
	ch, err := cl.Challenge(cmd.Context(), v.parsed, v.userDigest)
	if err != nil {
		return fromLog(err)
	}
	if err := v.out.keep(cmd, ch); err != nil {
		return err
	}
	return v.print(cmd, ch)
}

// print shows what goes into the quotes. With the challenge on standard output it goes to standard
// error.
func (v *challengeCmd) print(cmd *cobra.Command, ch *poclog.Challenge) error {
	w, nonce := v.out.words(cmd), ch.Nonce()
	name, data := "report_data", ch.ReportData(v.akPublic)
	if v.parsed == poclog.AzureTDXvTPM || v.parsed == poclog.AzureSNPvTPM {
		name, data = "hcl_user_data", ch.HCLUserData()
	}
	if v.asJSON {
		return json.NewEncoder(w).Encode(map[string]any{"v": 1, "nonce": hex.EncodeToString(nonce[:]), name: hex.EncodeToString(data[:])})
	}
	_, err := fmt.Fprintf(w, "nonce          %x\n%-14s %x\n", nonce, name, data)
	return err
}
