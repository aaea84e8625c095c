package mysqls3

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Variables of the environment that hold secrets, or name a file that does. S3's credentials are
// found as Amazon's SDK does: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE and its file,
// or a role.
const (
	EnvPassword     = "POCLOG_MYSQL_PASSWORD"
	EnvPasswordFile = "POCLOG_MYSQL_PASSWORD_FILE"
)

// A Config says where a log is kept: the file store.json. It has no secrets.
type Config struct {
	Kind     string   `json:"store"`    // "mysqls3"
	Database Database `json:"database"` // MySQL 8 or MariaDB 10.5, or later
	Tiles    Bucket   `json:"tiles"`    // tiles, evidence, kept checkpoints
	Guard    Bucket   `json:"guard"`    // the last signed checkpoint: another bucket
}

// A Database is a schema on a server.
type Database struct {
	Address string `json:"address"` // host:port, or the path of a socket
	Name    string `json:"name"`
	User    string `json:"user"`
	TLS     string `json:"tls,omitempty"` // "true": the server's certificate is verified; empty: none
}

// A Bucket is one of S3. An empty endpoint is Amazon's.
type Bucket struct {
	Endpoint string `json:"endpoint,omitempty"` // such as "https://s3.example": asked by path
	Region   string `json:"region"`
	Name     string `json:"bucket"`
	Prefix   string `json:"prefix,omitempty"` // of all keys: empty, or it ends with a slash
}

// Kind is the name of this store in store.json.
const Kind = "mysqls3"

// MaxConfig is the largest store.json.
const MaxConfig = 1 << 16

// ParseConfig reads a store.json.
func ParseConfig(file []byte) (*Config, error) {
	if len(file) > MaxConfig {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(file), MaxConfig)
	}
	c := new(Config)
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("something follows the object")
	}
	return c, c.Check()
}

// Marshal writes a store.json.
func (c *Config) Marshal() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	return append(b, '\n'), err
}

// Check says what is wrong with a Config.
func (c *Config) Check() error {
	if c.Kind != Kind {
		return fmt.Errorf("store %.40q: want %q", c.Kind, Kind)
	}
	d := c.Database
	if d.Address == "" || d.Name == "" || d.User == "" {
		return errors.New("database: want address, name and user")
	}
	if d.TLS != "" && d.TLS != "true" {
		return fmt.Errorf("database: tls %.40q: want \"true\" or nothing", d.TLS)
	}
	for _, b := range []struct {
		what string
		Bucket
	}{{"tiles", c.Tiles}, {"guard", c.Guard}} {
		if err := b.check(); err != nil {
			return fmt.Errorf("%s: %w", b.what, err)
		}
	}
	if c.Guard.Name == c.Tiles.Name && c.Guard.Endpoint == c.Tiles.Endpoint {
		return fmt.Errorf("guard: bucket %s holds the tiles, too: the guard needs one of its own, which no backup of the log restores", c.Guard.Name)
	}
	return nil
}

func (b Bucket) check() error {
	if b.Name == "" || b.Region == "" {
		return errors.New("want bucket and region (of a server that knows no regions: us-east-1)")
	}
	if b.Endpoint != "" {
		if u, err := url.Parse(b.Endpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("endpoint %.200q: want https://HOST", b.Endpoint)
		}
	}
	if b.Prefix != "" && (!strings.HasSuffix(b.Prefix, "/") || strings.HasPrefix(b.Prefix, "/") || strings.Contains(b.Prefix, "//") || strings.Contains(b.Prefix, "..")) {
		return fmt.Errorf("prefix %.200q: want one that ends with a slash, and does not begin with one", b.Prefix)
	}
	return nil
}

// password reads the database's password from the environment, or from the file that it names.
func password(getenv func(string) string) (string, error) {
	if p := getenv(EnvPassword); p != "" {
		return p, nil
	}
	path := getenv(EnvPasswordFile)
	if path == "" {
		return "", nil // the server may know the user otherwise, by a socket
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", EnvPasswordFile, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// dsn is how the driver reaches the database. It holds the password: no error may quote it.
// A name of a network is one that the driver was told how to dial; empty is the plain one.
func (d Database) dsn(password, network string) string {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName, c.Addr, c.Net = d.User, password, d.Name, d.Address, "tcp"
	if strings.HasPrefix(d.Address, "/") {
		c.Net = "unix"
	}
	if network != "" {
		c.Net = network
	}
	if d.TLS != "" {
		c.TLSConfig = d.TLS
	}
	// One round trip for a statement, and not three. The driver quotes, by its own encoding utf8mb4: it
	// refuses the encodings in which quoting fails.
	c.InterpolateParams = true
	c.Timeout, c.ReadTimeout, c.WriteTimeout = connectTimeout, queryTimeout, queryTimeout
	// A session whose front end is gone or paused ends, and with it what it locks.
	c.Params = map[string]string{"wait_timeout": fmt.Sprint(int(sessionIdle.Seconds())), "innodb_lock_wait_timeout": "10"}
	return c.FormatDSN()
}
