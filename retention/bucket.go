package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Bucket is a bucket of an S3 store, or what lies below a prefix of it.
type Bucket struct {
	client  *minio.Client
	name    string
	prefix  string // empty or with / at its end
	scratch string
}

// BucketConfig says which bucket. Credentials come from where the tools of AWS look for them: the environment
// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the credentials file, the machine's role.
type BucketConfig struct {
	Name, Prefix string
	Endpoint     string // URL; empty: AWS
	Region       string // empty: us-east-1
	Scratch      string // folder for objects while they are read
}

// OpenBucket makes a client; nothing is sent yet.
func OpenBucket(c BucketConfig) (*Bucket, error) {
	if c.Endpoint == "" {
		c.Endpoint = "https://s3.amazonaws.com"
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("open bucket %s: the endpoint is not a URL such as https://s3.example.com", c.Name)
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}}),
		Secure: u.Scheme == "https", Region: c.Region, MaxRetries: 5,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", c.Name, err)
	}
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return &Bucket{client, c.Name, prefix, c.Scratch}, nil
}

// Put implements [Objects]. A large object goes in parts and is not there until the last one is.
func (b *Bucket) Put(ctx context.Context, name string, file *os.File, once bool) error {
	info, err := file.Stat()
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	options := minio.PutObjectOptions{ContentType: "application/vnd.apache.parquet", PartSize: 64 << 20, NumThreads: 2}
	if strings.HasSuffix(name, ".json") {
		options.ContentType = "application/json"
	}
	if once {
		options.SetMatchETagExcept("*")
	}
	_, err = b.client.PutObject(ctx, b.name, b.prefix+name, file, info.Size(), options)
	return b.failed("put", name, err)
}

// Get implements [Objects].
func (b *Bucket) Get(ctx context.Context, name string) (*os.File, error) {
	object, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed("get", name, err)
	}
	defer object.Close()
	file, err := os.CreateTemp(b.scratch, "object-")
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	os.Remove(file.Name()) // it goes when it is closed
	if _, err = io.Copy(file, object); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, b.failed("get", name, err)
	}
	return file, nil
}

// List implements [Objects].
func (b *Bucket) List(ctx context.Context, prefix string) (names []string, err error) {
	for object := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if object.Err != nil {
			return nil, b.failed("list", prefix, object.Err)
		}
		names = append(names, strings.TrimPrefix(object.Key, b.prefix))
	}
	slices.Sort(names)
	return names, nil
}

// failed says in the words of fs what the store says of an object.
func (b *Bucket) failed(what, name string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s in bucket %s: %w", what, name, b.name, err)
	var answer minio.ErrorResponse
	switch errors.As(err, &answer); {
	case answer.Code == minio.NoSuchKey:
		return errors.Join(fs.ErrNotExist, err)
	case answer.StatusCode == http.StatusPreconditionFailed:
		return errors.Join(fs.ErrExist, err)
	}
	return err
}
