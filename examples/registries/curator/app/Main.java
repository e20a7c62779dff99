import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Executors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.strategies.RandomStrategy;

/**
 * An HTTP service that registers itself in ZooKeeper with Curator's service discovery, and a client of it. Neither knows
 * anything of crossfade.
 */
public final class Main {
  /** What an instance says of itself, as Spring Cloud's instances do. */
  public static final class Details {
    public Map<String, String> metadata = new HashMap<>();
  }

  public static void main(String[] args) throws Exception {
    if (args.length < 1 || args.length % 2 == 0) {
      usage();
    }
    Map<String, String> flags = new HashMap<>(Map.of(
        "--registry", "127.0.0.1:2181", "--service", "orders", "--listen", "127.0.0.1:9001",
        "--session-ms", "10000", "--every-ms", "100"));
    for (int i = 1; i < args.length; i += 2) {
      if (flags.replace(args[i], args[i + 1]) == null) {
        usage();
      }
    }
    switch (args[0]) {
      case "serve" -> serve(flags);
      case "consume" -> consume(flags);
      default -> usage();
    }
  }

  private static void usage() {
    System.err.println("usage: Main serve|consume [--registry HOST:PORT] [--service NAME] [--listen HOST:PORT] [--session-ms N] [--every-ms N]");
    System.exit(2);
  }

  private static CuratorFramework connect(Map<String, String> flags) {
    CuratorFramework zookeeper = CuratorFrameworkFactory.newClient(
        flags.get("--registry"), Integer.parseInt(flags.get("--session-ms")), 1000, new RetryForever(200));
    zookeeper.getConnectionStateListenable().addListener((client, state) -> say("connection " + state));
    zookeeper.start();
    return zookeeper;
  }

  private static ServiceDiscoveryBuilder<Details> discovery(CuratorFramework zookeeper) {
    return ServiceDiscoveryBuilder.builder(Details.class).client(zookeeper).basePath("/services");
  }

  private static void serve(Map<String, String> flags) throws Exception {
    String listen = flags.get("--listen");
    String host = listen.substring(0, listen.lastIndexOf(':'));
    int port = Integer.parseInt(listen.substring(host.length() + 1));
    HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 100);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.createContext("/", exchange -> {
      byte[] body = (listen + "\n").getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();

    CuratorFramework zookeeper = connect(flags);
    ServiceInstance<Details> instance = ServiceInstance.<Details>builder()
        .name(flags.get("--service")).address(host).port(port).payload(new Details()).build();
    long began = System.currentTimeMillis();
    ServiceDiscovery<Details> discovery = discovery(zookeeper).thisInstance(instance).build();
    discovery.start(); // returns when the registry has it
    say("registered after " + (System.currentTimeMillis() - began) + " ms");
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try (zookeeper; discovery) {
        discovery.unregisterService(instance);
        say("deregistered");
      } catch (Exception e) {
        say("deregister: " + e);
      }
      server.stop(1);
    }));
  }

  /** Asks one instance at a time, and says which. */
  private static void consume(Map<String, String> flags) throws Exception {
    ServiceDiscovery<Details> discovery = discovery(connect(flags)).build();
    discovery.start();
    var any = new RandomStrategy<Details>();
    HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();
    TreeSet<String> before = null;
    while (true) {
      var instances = List.copyOf(discovery.queryForInstances(flags.get("--service")));
      var list = new TreeSet<String>();
      instances.forEach(i -> list.add(i.getAddress() + ":" + i.getPort()));
      if (!list.equals(before)) {
        say("list " + String.join(" ", list));
        before = list;
      }
      ServiceInstance<Details> one = any.getInstance(() -> instances);
      if (one != null) {
        String address = one.getAddress() + ":" + one.getPort();
        say(ask(http, address) ? "pick " + address : "lost " + address);
      }
      Thread.sleep(Long.parseLong(flags.get("--every-ms")));
    }
  }

  private static boolean ask(HttpClient http, String address) throws InterruptedException {
    var request = HttpRequest.newBuilder(URI.create("http://" + address + "/")).timeout(Duration.ofSeconds(2)).build();
    try {
      return http.send(request, BodyHandlers.ofString()).statusCode() == 200;
    } catch (IOException e) {
      return false;
    }
  }

  private static synchronized void say(String what) {
    System.out.println(System.currentTimeMillis() + " " + what);
  }
}
