import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import java.util.Set;
import org.h2.mvstore.MVStore;

/**
 * Speaks MongoDB's protocol on loopback, out of one file: java Serve FILE PORT. What it has acknowledged is in the file
 * when it is killed; a machine that loses its power may lose it.
 */
public class Serve {
    private static final Set<String> CHANGES =
            Set.of("insert", "update", "delete", "findAndModify", "createIndexes", "create", "drop", "dropDatabase");

    public static void main(String[] arguments) throws Exception {
        H2Backend backend = new H2Backend(MVStore.open(arguments[0])) {
            // The file's own thread commits once a second, which is too late for what was acknowledged.
            @Override
            public Document handleMessage(MongoMessage message) {
                Document answer = super.handleMessage(message);
                if (message.getDocument().keySet().stream().anyMatch(CHANGES::contains)) {
                    commit();
                }
                return answer;
            }
        };
        // The oldest server that the driver talks to is 4.2.
        backend.version(new MongoVersion() {
            @Override
            public List<Integer> getVersionArray() {
                return List.of(5, 0, 0);
            }

            @Override
            public int getWireVersion() {
                return 13;
            }
        });
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        Thread.currentThread().join();
    }
}
