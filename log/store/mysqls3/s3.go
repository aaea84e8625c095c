package mysqls3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Bounds of a request to S3.
const (
	s3Timeout   = 30 * time.Second // for one request with its body
	s3Attempts  = 3
	s3Idle      = 64       // connections that wait for the next request
	s3Buffer    = 16 << 10 // of a connection: evidence goes out in one piece with its header
	maxObject   = 64 << 20
	maxRegister = 1 << 16 // a checkpoint, or the guard
	metaSeen    = "seen"  // when a checkpoint was first seen, in seconds since 1970
)

// errPrecondition is of a conditional request whose condition did not hold.
var errPrecondition = errors.New("the condition does not hold (412)")

// A bucket holds objects under a prefix.
type bucket struct {
	client *s3.Client
	where  Bucket
	prefix string
}

// An object is what a key leads to.
type object struct {
	body []byte
	etag string
	seen time.Time // zero: not kept
}

// sdkConfig is how a bucket is reached. Credentials come from the environment or files, as the SDK
// looks for them.
func sdkConfig(ctx context.Context, b Bucket) (aws.Config, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(b.Region), config.WithRetryMaxAttempts(s3Attempts),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(s3Timeout).WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost, t.MaxIdleConns, t.WriteBufferSize = s3Idle, s3Idle, s3Buffer
		})))
	if err != nil {
		return c, fmt.Errorf("set up S3: %w", err)
	}
	// Servers other than Amazon's know no trailing checksums.
	c.RequestChecksumCalculation, c.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenRequired, aws.ResponseChecksumValidationWhenRequired
	return c, nil
}

func s3Options(b Bucket) func(*s3.Options) {
	return func(o *s3.Options) {
		if b.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(b.Endpoint), true
		}
	}
}

func openBucket(ctx context.Context, b Bucket) (*bucket, error) {
	c, err := sdkConfig(ctx, b)
	if err != nil {
		return nil, err
	}
	return &bucket{client: s3.NewFromConfig(c, s3Options(b)), where: b, prefix: b.Prefix}, nil
}

func (b *bucket) key(name string) *string { return aws.String(b.prefix + name) }

func (b *bucket) String() string {
	if b.where.Endpoint == "" {
		return "s3://" + b.where.Name + "/" + b.prefix
	}
	return b.where.Endpoint + "/" + b.where.Name + "/" + b.prefix
}

// fail names what could not be done, and makes errors of the SDK ones that callers know.
func (b *bucket) fail(do, name string, err error) error {
	var api smithy.APIError
	var resp *smithyhttp.ResponseError
	code, status := "", 0
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	if errors.As(err, &resp) {
		status = resp.HTTPStatusCode()
	}
	switch {
	case code == "NoSuchBucket":
		err = fmt.Errorf("the bucket does not exist: %w", fs.ErrInvalid)
	case code == "NoSuchKey" || code == "NotFound" || status == http.StatusNotFound:
		err = fs.ErrNotExist
	case code == "PreconditionFailed" || status == http.StatusPreconditionFailed:
		err = errPrecondition
	case code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "AccessDenied" || status == http.StatusForbidden:
		err = fmt.Errorf("access is denied (%s): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or what else gives credentials", code)
	case api != nil:
		err = fmt.Errorf("%s (%d): %s", code, status, api.ErrorMessage())
	}
	return fmt.Errorf("%s %s%s: %w", do, b, name, err)
}

// get reads an object of at most a size.
func (b *bucket) get(ctx context.Context, name string, limit int64) (o object, err error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name)})
	if err != nil {
		return o, b.fail("read", name, err)
	}
	defer out.Body.Close()
	if o.body, err = io.ReadAll(io.LimitReader(out.Body, limit+1)); err != nil {
		return o, b.fail("read", name, err)
	}
	if int64(len(o.body)) > limit {
		return o, b.fail("read", name, fmt.Errorf("over %d bytes", limit))
	}
	if out.ContentLength != nil && *out.ContentLength != int64(len(o.body)) {
		return o, b.fail("read", name, fmt.Errorf("%d bytes of %d came", len(o.body), *out.ContentLength))
	}
	o.etag = aws.ToString(out.ETag)
	if s, err := strconv.ParseInt(out.Metadata[metaSeen], 10, 64); err == nil {
		o.seen = time.Unix(s, 0)
	}
	return o, nil
}

// open opens an object.
func (b *bucket) open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name)})
	if err != nil {
		return nil, 0, b.fail("read", name, err)
	}
	if out.ContentLength == nil || *out.ContentLength < 0 || *out.ContentLength > maxObject {
		return nil, 0, errors.Join(b.fail("read", name, fmt.Errorf("its length is not known, or over %d bytes", maxObject)), out.Body.Close())
	}
	return out.Body, *out.ContentLength, nil
}

// size returns an object's length.
func (b *bucket) size(ctx context.Context, name string) (int64, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name)})
	if err != nil {
		return 0, b.fail("look for", name, err)
	}
	return aws.ToInt64(out.ContentLength), nil
}

// seen returns when a kept checkpoint was first seen.
func (b *bucket) seen(ctx context.Context, name string) (time.Time, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name)})
	if err != nil {
		return time.Time{}, b.fail("look for", name, err)
	}
	s, err := strconv.ParseInt(out.Metadata[metaSeen], 10, 64)
	if err != nil {
		return time.Time{}, b.fail("look for", name, fmt.Errorf("its time: %w", err))
	}
	return time.Unix(s, 0), nil
}

// A put is what is written, and on which condition: that the object has an ETag, that there is none
// ("*" in ifNoneMatch), or none.
type put struct {
	body        []byte
	ifMatch     string
	ifNoneMatch string
	contentType string
	seen        time.Time
}

func (b *bucket) put(ctx context.Context, name string, p put) error {
	in := &s3.PutObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name), Body: bytes.NewReader(p.body), ContentType: aws.String("application/octet-stream")}
	if p.contentType != "" {
		in.ContentType = aws.String(p.contentType)
	}
	if p.ifMatch != "" {
		in.IfMatch = aws.String(p.ifMatch)
	}
	if p.ifNoneMatch != "" {
		in.IfNoneMatch = aws.String(p.ifNoneMatch)
	}
	if !p.seen.IsZero() {
		in.Metadata = map[string]string{metaSeen: strconv.FormatInt(p.seen.Unix(), 10)}
	}
	if _, err := b.client.PutObject(ctx, in); err != nil {
		return b.fail("write", name, err)
	}
	return nil
}

// putNew writes an object that never changes. One that is there is an error that is fs.ErrExist,
// unless it has the same bytes: an answer may have been lost.
func (b *bucket) putNew(ctx context.Context, name string, p put) error {
	p.ifNoneMatch = "*"
	err := b.put(ctx, name, p)
	if !errors.Is(err, errPrecondition) {
		return err
	}
	have, err := b.get(ctx, name, int64(len(p.body)))
	if err == nil && bytes.Equal(have.body, p.body) {
		return nil
	}
	return b.fail("write", name, fs.ErrExist)
}

// create writes an object that must not be there, whatever is in it.
func (b *bucket) create(ctx context.Context, name string, body []byte) error {
	err := b.put(ctx, name, put{body: body, ifNoneMatch: "*"})
	if errors.Is(err, errPrecondition) {
		return b.fail("write", name, fs.ErrExist)
	}
	return err
}

// swap replaces an object of an ETag. An answer that was lost is found out: if the object has the
// new bytes, it was replaced. errPrecondition is of an object that another changed.
func (b *bucket) swap(ctx context.Context, name string, p put) error {
	err := b.put(ctx, name, p)
	if err == nil {
		return nil
	}
	have, e := b.get(ctx, name, int64(len(p.body)))
	if e == nil && bytes.Equal(have.body, p.body) {
		return nil
	}
	return err
}

// list returns at most n keys under a prefix after a name, ascending, without the bucket's prefix.
func (b *bucket) list(ctx context.Context, prefix, after string, n int32) (names []string, err error) {
	in := &s3.ListObjectsV2Input{Bucket: aws.String(b.where.Name), Prefix: b.key(prefix), MaxKeys: aws.Int32(n)}
	if after != "" {
		in.StartAfter = b.key(after)
	}
	out, err := b.client.ListObjectsV2(ctx, in)
	if err != nil {
		return nil, b.fail("list", prefix, err)
	}
	for _, o := range out.Contents {
		names = append(names, aws.ToString(o.Key)[len(b.prefix):])
	}
	return names, nil
}

func (b *bucket) remove(ctx context.Context, name string) error {
	if _, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(b.where.Name), Key: b.key(name)}); err != nil {
		return b.fail("remove", name, err)
	}
	return nil
}

// probe finds out whether the server holds conditions: it writes an object of its own, and must be
// refused where a condition does not hold. A server that ignores conditions would let two front ends
// sign two histories.
func (b *bucket) probe(ctx context.Context, name string) error {
	first := put{body: []byte("poclog tries conditions\n")}
	if err := b.put(ctx, name, first); err != nil {
		return err
	}
	again := first
	again.ifNoneMatch = "*"
	if err := b.put(ctx, name, again); !errors.Is(err, errPrecondition) {
		return fmt.Errorf("%s does not refuse If-None-Match of an object that is there (got %v): two front ends could overwrite each other's objects; use a server that answers 412", b, err)
	}
	other := put{body: []byte("poclog tries conditions again\n"), ifMatch: `"00000000000000000000000000000000"`}
	if err := b.put(ctx, name, other); !errors.Is(err, errPrecondition) {
		return fmt.Errorf("%s does not refuse a wrong If-Match (got %v): two front ends could sign two histories; use a server that answers 412", b, err)
	}
	have, err := b.get(ctx, name, maxRegister)
	if err != nil {
		return err
	}
	if !bytes.Equal(have.body, first.body) {
		return fmt.Errorf("%s answers 412 to a wrong If-Match, and writes: use another server", b)
	}
	other.ifMatch = have.etag
	if err := b.put(ctx, name, other); err != nil {
		return fmt.Errorf("%s refuses a right If-Match: %w", b, err)
	}
	_ = b.remove(ctx, name) // a user that may not remove leaves some bytes behind
	return nil
}
