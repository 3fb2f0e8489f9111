// Reads CloudEvents with the CloudEvents SDK for Go, and other records with sarama, which the SDK uses.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	cloudevents "github.com/cloudevents/sdk-go/v2"
)

const patience = 60 * time.Second

type event struct {
	Topic           string                 `json:"topic"`
	ID              string                 `json:"id"`
	Source          string                 `json:"source"`
	Type            string                 `json:"type"`
	Time            string                 `json:"time"`
	DataSchema      *string                `json:"dataschema"`
	DataContentType *string                `json:"datacontenttype"`
	Extensions      map[string]interface{} `json:"extensions"`
	Data            digits                 `json:"data"`
}

type record struct {
	Topic   string            `json:"topic"`
	Key     digits            `json:"key"`
	Value   digits            `json:"value"`
	Headers map[string]digits `json:"headers"`
}

// Bytes, printed in hexadecimal.
type digits []byte

func (bytes digits) MarshalJSON() ([]byte, error) {
	if bytes == nil {
		return []byte("null"), nil
	}
	return json.Marshal(hex.EncodeToString(bytes))
}

// Attributes that the SDK's receiver adds.
var added = map[string]bool{"kafkatopic": true, "kafkapartition": true, "kafkaoffset": true}

func fail(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func parsed(argument string) (int, []string) {
	count, topics, _ := strings.Cut(argument, ":")
	number, err := strconv.Atoi(count)
	if err != nil {
		fail("%v", err)
	}
	if topics == "" {
		return number, nil
	}
	return number, strings.Split(topics, ",")
}

func printed(value interface{}) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail("%v", err)
	}
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// The SDK's receiver: records that it can't parse, and invalid events, never reach the function.
func readEvents(brokers []string, config *sarama.Config, count int, topics []string) {
	if len(topics) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	group, err := sarama.NewConsumerGroup(brokers, fmt.Sprintf("walpost-clients-go-%d-%d", os.Getpid(), time.Now().UnixNano()), config)
	if err != nil {
		fail("%v", err)
	}
	receiver := kafka_sarama.NewReceiver()
	go func() {
		for ctx.Err() == nil {
			if err := group.Consume(ctx, topics, receiver); err != nil && ctx.Err() == nil {
				fail("%v", err)
			}
		}
	}()
	client, err := cloudevents.NewClient(receiver)
	if err != nil {
		fail("%v", err)
	}
	received := make(chan cloudevents.Event)
	go func() {
		_ = client.StartReceiver(ctx, func(event cloudevents.Event) { received <- event })
	}()
	for ; count > 0; count-- {
		select {
		case e := <-received:
			extensions := map[string]interface{}{}
			for name, value := range e.Extensions() {
				if !added[name] {
					extensions[name] = value
				}
			}
			topic, _ := e.Extensions()["kafkatopic"].(string)
			printed(event{topic, e.ID(), e.Source(), e.Type(), e.Time().Format(time.RFC3339Nano), optional(e.DataSchema()),
				optional(e.DataContentType()), extensions, e.Data()})
		case <-ctx.Done():
			fail("the SDK gives %d events of %v fewer than there are", count, topics)
		}
	}
}

func readOthers(brokers []string, config *sarama.Config, count int, topics []string) {
	if len(topics) == 0 {
		return
	}
	consumer, err := sarama.NewConsumer(brokers, config)
	if err != nil {
		fail("%v", err)
	}
	received := make(chan *sarama.ConsumerMessage)
	for _, topic := range topics {
		partitions, err := consumer.Partitions(topic)
		if err != nil {
			fail("%v", err)
		}
		for _, partition := range partitions {
			reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
			if err != nil {
				fail("%v", err)
			}
			go func() {
				for message := range reader.Messages() {
					received <- message
				}
			}()
		}
	}
	deadline := time.After(patience)
	for ; count > 0; count-- {
		select {
		case message := <-received:
			headers := map[string]digits{}
			for _, header := range message.Headers {
				headers[string(header.Key)] = header.Value
			}
			printed(record{message.Topic, message.Key, message.Value, headers})
		case <-deadline:
			fail("%d records of %v did not come", count, topics)
		}
	}
}

func main() {
	brokers := strings.Split(os.Args[1], ",")
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	count, topics := parsed(os.Args[2])
	readEvents(brokers, config, count, topics)
	count, topics = parsed(os.Args[3])
	readOthers(brokers, config, count, topics)
}
