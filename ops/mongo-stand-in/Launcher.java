import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import io.netty.channel.Channel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A server that speaks MongoDB's protocol, for tests on machines that have no mongod.
 * java -cp 'lib/*' Launcher.java FOLDER PORT [wire=N] [keystore=FILE] [refuse=COMMAND:CODE,...]
 * Port 0: any that is free. Prints "listening on PORT". `wire`: the wire version that it says it has. `keystore`: a PKCS #12 file
 * with password "changeit", for TLS. `refuse`: commands that it answers with this error, as mongod does where the rights are missing.
 */
public class Launcher {
    public static void main(String[] args) throws Exception {
        Map<String, String> options = new ConcurrentHashMap<>();
        for (int i = 2; i < args.length; i++) {
            String[] parts = args[i].split("=", 2);
            options.put(parts[0], parts[1]);
        }
        Path folder = Files.createDirectories(Path.of(args[0]));
        Durable backend = new Durable(folder.resolve("store.mv").toString(), options.getOrDefault("refuse", ""));
        backend.version(new Version(Integer.parseInt(options.getOrDefault("wire", "13"))));
        MongoServer server = new MongoServer(backend);
        if (options.containsKey("keystore")) enableTls(server, Path.of(options.get("keystore")));
        server.bind("127.0.0.1", Integer.parseInt(args[1]));
        System.out.println("listening on " + server.getLocalAddress().getPort());
    }

    private static void enableTls(MongoServer server, Path file) throws Exception {
        char[] password = "changeit".toCharArray();
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (var in = Files.newInputStream(file)) {
            keys.load(in, password);
        }
        String alias = keys.aliases().nextElement();
        server.enableSsl((PrivateKey) keys.getKey(alias, password), null, (X509Certificate) keys.getCertificate(alias));
    }

    /** As much as the official drivers ask for. */
    private record Version(int wire) implements MongoVersion {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return wire;
        }
    }

    /** On disk before the answer goes out, as mongod does with `j: true`. */
    private static class Durable extends H2Backend {
        private final Map<String, Integer> refused = new ConcurrentHashMap<>();

        Durable(String file, String refuse) {
            super(file);
            for (String one : refuse.isEmpty() ? new String[0] : refuse.split(",")) {
                String[] parts = one.split(":");
                refused.put(parts[0], Integer.parseInt(parts[1]));
            }
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            Document document = message.getDocument();
            Integer code = refused.get(new ArrayList<>(document.keySet()).get(0));
            if (code != null) {
                Document answer = new Document("ok", 0).append("code", code);
                return answer.append("codeName", "Refused").append("errmsg", "refused, as the test wants it");
            }
            try {
                return super.handleMessage(message);
            } finally {
                commit();
            }
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            try {
                return super.handleCommand(channel, database, command, query);
            } finally {
                commit();
            }
        }

        @Override
        public QueryResult handleQuery(MongoQuery query) {
            try {
                return super.handleQuery(query);
            } finally {
                commit();
            }
        }
    }
}
