import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import io.debezium.engine.format.SerializationFormat;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.source.SourceRecord;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.StreamEntryID;

/**
 * Debezium's engine with the least that can stand behind it: a batch of changes is one pipeline to Redis.
 *
 * <pre>
 *   slot, table ─> engine (one thread reads, others convert) ─> batch of changes ─> HSET or XADD ─> offsets in a file
 * </pre>
 *
 * As rows ("hash") the engine hands over the structures that it has, which costs it no JSON. As entries ("stream") it
 * makes JSON without schemas, and an entry has one field, the row's key, as Debezium Server's Redis sink writes it.
 *
 * <p>Ends when as many changes as it was told are in Redis: with "close" in order, so that the offsets are kept, and
 * otherwise at once, so that its end is not measured.
 */
public final class Debezium {
    private static final CountDownLatch DONE = new CountDownLatch(1);

    private static Jedis redis;
    private static long left;

    public static void main(String[] arguments) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            given.put(parts[0], parts[1]);
        }
        left = Long.parseLong(given.remove("rows"));
        boolean close = given.remove("end").equals("close");
        redis = new Jedis("127.0.0.1", Integer.parseInt(given.remove("redis")));
        DebeziumEngine<?> engine = given.remove("as").equals("hash")
            ? engine(Connect.class, given, Debezium::hashes)
            : engine(Json.class, given, Debezium::entries);
        Thread thread = new Thread(engine);
        thread.start();
        DONE.await();
        if (close) {
            engine.close();
            thread.join();
        }
        Runtime.getRuntime().halt(0);
    }

    private interface Writer<T> {
        void write(Pipeline pipeline, ChangeEvent<T, T> event);
    }

    private static <T> DebeziumEngine<?> engine(
            Class<? extends SerializationFormat<T>> format, Map<String, String> given, Writer<T> writer) {
        Properties settings = new Properties();
        settings.setProperty("name", "bench");
        settings.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        settings.setProperty("plugin.name", "pgoutput");
        settings.setProperty("publication.autocreate.mode", "disabled");
        settings.setProperty("topic.prefix", "bench");
        settings.setProperty("decimal.handling.mode", "string");
        settings.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
        settings.setProperty("offset.flush.interval.ms", "1000");
        // Four times as large as by default, so that reading and writing overlap, and no waiting.
        settings.setProperty("max.batch.size", "8192");
        settings.setProperty("max.queue.size", "32768");
        settings.setProperty("poll.interval.ms", "5");
        settings.setProperty("snapshot.fetch.size", "20000");
        // The message that ends a backlog.
        settings.setProperty("message.prefix.exclude.list", "bench");
        settings.setProperty("tombstones.on.delete", "false");
        settings.setProperty("key.converter.schemas.enable", "false");
        settings.setProperty("value.converter.schemas.enable", "false");
        given.forEach(settings::setProperty);
        return DebeziumEngine.create(format)
            .using(settings)
            .using((success, message, error) -> {
                if (!success) {
                    System.err.println(message + ": " + error);
                    Runtime.getRuntime().halt(1);
                }
            })
            .notifying((List<ChangeEvent<T, T>> events, DebeziumEngine.RecordCommitter<ChangeEvent<T, T>> committer) -> {
                Pipeline pipeline = redis.pipelined();
                for (ChangeEvent<T, T> event : events) {
                    writer.write(pipeline, event);
                }
                pipeline.sync();
                for (ChangeEvent<T, T> event : events) {
                    committer.markProcessed(event);
                }
                committer.markBatchFinished();
                left -= events.size();
                if (left <= 0) {
                    DONE.countDown();
                }
            })
            .build();
    }

    private static void hashes(Pipeline pipeline, ChangeEvent<SourceRecord, SourceRecord> event) {
        Struct change = (Struct) event.value().value();
        Struct row = change.getStruct("after");
        Map<String, String> fields = new HashMap<>(16);
        for (Field field : row.schema().fields()) {
            Object value = row.get(field);
            if (value != null) {
                fields.put(field.name(), value.toString());
            }
        }
        String table = change.getStruct("source").getString("table");
        pipeline.hset(table + ":" + row.get("id"), fields);
    }

    private static void entries(Pipeline pipeline, ChangeEvent<String, String> event) {
        pipeline.xadd(event.destination(), StreamEntryID.NEW_ENTRY, Map.of(event.key(), event.value()));
    }
}
