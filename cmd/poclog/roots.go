package main

// Where the system has no certificates of public authorities, as in our container image, those of
// Mozilla's list count, as of the module's version: a log, a monitor and `poclog collateral fetch`
// ask manufacturers over HTTPS.
import _ "golang.org/x/crypto/x509roots/fallback"
