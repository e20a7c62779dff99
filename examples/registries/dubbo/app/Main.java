import java.util.HashMap;
import java.util.Map;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcException;

/** A Dubbo service that registers itself in ZooKeeper, and a client of it. Neither knows anything of crossfade. */
public final class Main {
  public static void main(String[] args) throws Exception {
    if (args.length < 1 || args.length % 2 == 0) {
      usage();
    }
    Map<String, String> flags = new HashMap<>(Map.of(
        "--registry", "127.0.0.1:2181", "--port", "9001", "--session-ms", "10000",
        "--every-ms", "100", "--late-ms", "5000", "--weight", "100", "--warmup-ms", "600000"));
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
    System.err.println("usage: Main serve|consume [--registry HOST:PORT] [--port N] [--session-ms N] [--every-ms N] [--late-ms N] [--weight N] [--warmup-ms N]");
    System.exit(2);
  }

  private static DubboBootstrap start(String name, Map<String, String> flags) {
    ApplicationConfig application = new ApplicationConfig(name);
    application.setQosEnable(false);
    RegistryConfig registry = new RegistryConfig("zookeeper://" + flags.get("--registry"));
    registry.setRegisterMode("interface"); // /dubbo/INTERFACE/providers/URL
    registry.setUseAsConfigCenter(false);
    registry.setUseAsMetadataCenter(false);
    registry.setParameters(Map.of(
        "session", flags.get("--session-ms"),
        "delay-notification", flags.get("--late-ms"))); // a list that changes often is followed so late
    return DubboBootstrap.getInstance().application(application).registry(registry);
  }

  private static void serve(Map<String, String> flags) {
    ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(flags.get("--port")));
    ServiceConfig<Orders> service = new ServiceConfig<>();
    service.setInterface(Orders.class);
    service.setRef(() -> flags.get("--port"));
    service.setWeight(Integer.parseInt(flags.get("--weight")));
    service.setParameters(Map.of("warmup", flags.get("--warmup-ms"))); // Dubbo's own, in its consumers
    long began = System.currentTimeMillis();
    start("orders", flags).protocol(protocol).service(service).start();
    say("registered after " + (System.currentTimeMillis() - began) + " ms");
    DubboBootstrap.getInstance().await();
  }

  /** Calls one instance at a time, by Dubbo's own weighted choice, and says which. */
  private static void consume(Map<String, String> flags) throws InterruptedException {
    ReferenceConfig<Orders> reference = new ReferenceConfig<>();
    reference.setInterface(Orders.class);
    reference.setCheck(false);
    reference.setRetries(0);
    reference.setTimeout(20000);
    start("orders-client", flags).reference(reference).start();
    Orders orders = reference.get();
    boolean none = false;
    while (true) {
      try {
        say("pick " + orders.who());
        none = false;
      } catch (RpcException e) {
        boolean nobody = e.isForbidden() || e.getMessage().contains("No provider available");
        if (!nobody) {
          say("lost " + e.getMessage().lines().findFirst().orElse(""));
        } else if (!none) {
          say("list");
        }
        none = nobody;
      }
      Thread.sleep(Long.parseLong(flags.get("--every-ms")));
    }
  }

  private static synchronized void say(String what) {
    System.out.println(System.currentTimeMillis() + " " + what);
  }
}
