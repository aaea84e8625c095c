//go:build race

package tcglog_test

const raceDetector = true
