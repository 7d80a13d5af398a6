// A custom runtime for Lambda functions on Go's own HTTP client, as the library for Go does it: a response is
// sent in chunks, with trailers that tell of an error.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

var base = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"

type question struct {
	Do    string `json:"do"`
	Bytes int    `json:"bytes"`
}

// Ends in an error that its reader finds in a trailer.
type failing struct {
	text    io.Reader
	trailer http.Header
}

func (f failing) Read(into []byte) (int, error) {
	count, err := f.text.Read(into)
	if err == io.EOF {
		f.trailer.Set("Lambda-Runtime-Function-Error-Type", "Stream.Broken")
		body := base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"half way","errorType":"Stream.Broken"}`))
		f.trailer.Set("Lambda-Runtime-Function-Error-Body", body)
	}
	return count, err
}

func post(path string, body io.Reader, trailer http.Header) int {
	request, err := http.NewRequest(http.MethodPost, base+path, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
	request.Trailer = trailer
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	return answer.StatusCode
}

func main() {
	for count := 1; ; count++ {
		next, err := http.Get(base + "invocation/next")
		if err != nil {
			panic(err)
		}
		event, _ := io.ReadAll(next.Body)
		next.Body.Close()
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		asked := question{}
		json.Unmarshal(event, &asked)
		text, _ := json.Marshal(map[string]any{"count": count, "event": json.RawMessage(event),
			"deadline": next.Header.Get("Lambda-Runtime-Deadline-Ms"), "text": strings.Repeat("x", asked.Bytes)})
		trailer := http.Header{"Lambda-Runtime-Function-Error-Type": nil, "Lambda-Runtime-Function-Error-Body": nil}
		var body io.Reader = io.MultiReader(strings.NewReader(string(text)))
		if asked.Do == "break" {
			body = failing{body, trailer}
		}
		fmt.Println("answered with", post("invocation/"+id+"/response", body, trailer))
	}
}
