package poclog

import (
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// StatementSubmissionType is the media type of a statement with its documents.
const StatementSubmissionType = "application/vnd.poclog.statement-submission+json"

// MaxStatementSubmission is the largest submission of a statement, in bytes.
const MaxStatementSubmission = MaxStatementEnvelope + MaxDocuments*((MaxDocument+2)/3*4) + 1<<10

// A StatementSubmission is what is posted to a log: a statement, and those of its documents that
// the log is to keep, docs/format.md §18.
//
//	{"v":1,"envelope":{…},"documents":["<base64url>",…]}
type StatementSubmission struct {
	Envelope  StatementEnvelope
	Documents [][]byte // each one that the statement names without a URL, in the statement's order; those that the log has may be left out
}

// Marshal returns the submission's file.
func (s *StatementSubmission) Marshal() ([]byte, error) {
	file, err := canon.Write(MaxStatementSubmission, s.code)
	if err != nil {
		return nil, fmt.Errorf("encode submission of a statement: %w", err)
	}
	return file, nil
}

// ParseStatementSubmission parses a submission of a statement. It verifies no signature.
func ParseStatementSubmission(file []byte) (*StatementSubmission, error) {
	if len(file) > MaxStatementSubmission {
		return nil, fmt.Errorf("submission of a statement of %d bytes: want at most %d", len(file), MaxStatementSubmission)
	}
	s := new(StatementSubmission)
	if err := canon.Read(file, s.code); err != nil {
		return nil, fmt.Errorf("parse submission of a statement: %w", err)
	}
	return s, nil
}

func (s *StatementSubmission) code(c *canon.Codec) {
	c.Lit(`{"v":1`)
	s.Envelope.code(c.Member("envelope"))
	canon.OptionalList(c, "documents", &s.Documents, MaxDocuments, func(b *[]byte) { c.Base64(b, MaxDocument) })
	c.Lit("}")
	if c.Err() == nil {
		s.checkDocuments(c)
	}
}

// checkDocuments holds the documents to those that the statement names and the log keeps, in the
// statement's order.
func (s *StatementSubmission) checkDocuments(c *canon.Codec) {
	kept := s.Envelope.Statement.Kept()
	for i, b := range s.Documents {
		blob := BlobOf(b)
		for len(kept) > 0 && kept[0] != blob {
			kept = kept[1:]
		}
		if len(kept) == 0 {
			c.Failf("document %d, of %d bytes with digest %s: the statement names none such without a url, or another order", i, blob.Size, blob.SHA256)
			return
		}
		kept = kept[1:]
	}
}

// Kept returns the documents that a log keeps, in the statement's order.
func (s *Statement) Kept() (list []Blob) {
	for _, d := range s.Documents {
		if d.URL == "" {
			list = append(list, Blob{SHA256: d.SHA256, Size: d.Size})
		}
	}
	return list
}
