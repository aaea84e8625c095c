package mysqls3

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/poclog/poclog"
)

// A fastPut writes new objects of one bucket with a request that it signs itself. It makes a seventh of
// the work that the SDK makes of it, and knows nothing of what goes wrong: whatever is not answered with
// 200 is the SDK's to try again, and to explain.
type fastPut struct {
	signer *v4.Signer

	once    sync.Once
	options s3.Options
	base    string // the URL of the bucket with its prefix; empty: it is not to be had
}

// try writes an object of a digest if there is none, and reports whether it did.
func (f *fastPut) try(ctx context.Context, b *bucket, name string, body []byte, digest poclog.Digest, contentType string) bool {
	f.once.Do(func() { f.options, f.base = b.client.Options(), baseURL(ctx, b) })
	if f.base == "" {
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, f.base+name, bytes.NewReader(body))
	if err != nil {
		return false
	}
	hash := digest.String()
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("If-None-Match", "*")
	r.Header.Set("X-Amz-Content-Sha256", hash)
	credentials, err := f.options.Credentials.Retrieve(ctx)
	if err != nil {
		return false
	}
	if err := f.signer.SignHTTP(ctx, credentials, r, hash, "s3", f.options.Region, time.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }); err != nil {
		return false
	}
	resp, err := f.options.HTTPClient.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // it has none, or the SDK is told again what it says
	return resp.StatusCode == http.StatusOK
}

// baseURL is where the SDK finds a bucket's objects, or empty.
func baseURL(ctx context.Context, b *bucket) string {
	if strings.HasSuffix(b.where.Name, "--x-s3") {
		return "" // a directory bucket wants sessions
	}
	const mark = "poclog"
	signed, err := s3.NewPresignClient(b.client).PresignPutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(mark)})
	if err != nil {
		return ""
	}
	base, _, _ := strings.Cut(signed.URL, "?")
	base, _ = strings.CutSuffix(base, mark)
	return base
}
