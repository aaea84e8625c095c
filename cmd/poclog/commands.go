package main

import "github.com/spf13/cobra"

// commands returns every command by its group in the help.
func commands() map[string][]*cobra.Command {
	return map[string][]*cobra.Command{
		"use":   {newAttestCmd(), newImportCmd(), newChallengeCmd(), newKeyCmd(), newSignCmd(), newSubmitCmd(), newPolicyCmd(), newVerifyCmd(), newInspectCmd(), newRefreshCmd(), newDossierCmd(), newRegistryCmd(), newCollateralCmd()},
		"serve": {newLogCmd(), newWitnessCmd(), newAuditCmd(), newMonitorCmd()},
		"learn": {newExplainCmd(), newDemoCmd(), newLabCmd(), newVersionCmd(), newManCmd()},
	}
}
