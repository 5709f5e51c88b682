// Command sdkupload uploads standard input with the AWS SDK's own uploader, as most backup tools do. make bench
// measures against it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func main() {
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(os.Getenv("S3_ENDPOINT")), UsePathStyle: true, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
	_, err := manager.NewUploader(client).Upload(context.Background(), &s3.PutObjectInput{
		Bucket: aws.String("bench"), Key: aws.String("sdk"), Body: struct{ io.Reader }{os.Stdin}, // a pipe cannot seek, whatever its type says
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdkupload:", err)
		os.Exit(1)
	}
}
