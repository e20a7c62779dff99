import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;

/**
 * A book shop as many are: slow when it is new, for the two usual reasons, and nothing that makes it slow on purpose but
 * the time that its database takes.
 *
 * <p>{@code GET /quote/N} prices an order of 1500 lines by rules: plain code, interpreted at first, compiled by the JIT
 * once it has run often enough. {@code GET /book/N} reads a book from a cache, or from a "database" that takes 25 ms
 * and keeps what it read. {@code GET /health} answers at once, and says nothing of either.
 *
 * <p>It is the JDK alone: {@code java Main.java} is enough. It listens on $HOST:$PORT, 127.0.0.1:9080 otherwise.
 */
public final class Main {
  private static final int THREADS = 64;

  public static void main(String[] args) throws IOException {
    // Otherwise head and body leave apart, and a client that delays its acknowledgements waits 40 ms for the second.
    System.setProperty("sun.net.httpserver.nodelay", "true");
    String host = env("HOST", "127.0.0.1");
    int port = Integer.parseInt(env("PORT", "9080"));
    HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 1024);
    server.setExecutor(Executors.newFixedThreadPool(THREADS));
    Shelf shelf = new Shelf();
    String instance = host + "-" + ProcessHandle.current().pid();
    route(server, "/quote/", instance, n -> Order.of(n).quote());
    route(server, "/book/", instance, shelf::book);
    route(server, "/health", instance, n -> "{\"status\":\"up\"}");
    server.start();
    System.err.println("coldjvm listens on " + host + ":" + port);
  }

  private static String env(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  /** What a path answers, by the number at its end. */
  private interface Answer {
    String of(int n) throws InterruptedException;
  }

  private static void route(HttpServer server, String path, String instance, Answer answer) {
    HttpHandler handler = exchange -> {
      int status = 200;
      String body;
      try {
        body = answer.of(number(exchange.getRequestURI().getPath().substring(path.length())));
      } catch (NumberFormatException e) {
        status = 404;
        body = "{\"error\":\"the path ends in a number\"}";
      } catch (InterruptedException e) {
        status = 503;
        body = "{\"error\":\"stopping\"}";
      }
      exchange.getResponseHeaders().set("Content-Type", "application/json");
      exchange.getResponseHeaders().set("x-coldjvm-instance", instance);
      send(exchange, status, body);
    };
    server.createContext(path, handler);
  }

  private static int number(String text) {
    return text.isEmpty() ? 0 : Integer.parseInt(text);
  }

  private static void send(HttpExchange exchange, int status, String body) throws IOException {
    byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
    boolean head = exchange.getRequestMethod().equals("HEAD");
    exchange.sendResponseHeaders(status, head ? -1 : bytes.length);
    if (!head) {
      exchange.getResponseBody().write(bytes);
    }
    exchange.close();
  }

  /** Books that were read before, the last 1000 of them. */
  private static final class Shelf {
    private static final int KEPT = 1000;
    private static final long DATABASE_MILLIS = 25;

    private final Map<Integer, String> books = new LinkedHashMap<>(KEPT, 0.75f, true) {
      @Override
      protected boolean removeEldestEntry(Map.Entry<Integer, String> eldest) {
        return size() > KEPT;
      }
    };

    String book(int n) throws InterruptedException {
      synchronized (books) {
        String known = books.get(n);
        if (known != null) {
          return known;
        }
      }
      Thread.sleep(DATABASE_MILLIS); // the only thing here that is not real
      String read = "{\"book\":" + n + ",\"title\":\"The Comedy of Errors, volume " + n + "\"}";
      synchronized (books) {
        books.put(n, read);
      }
      return read;
    }
  }

  /** One line of an order. */
  private static final class Line {
    final String sku;
    final String group;
    final int pieces;
    final double price;

    Line(String sku, String group, int pieces, double price) {
      this.sku = sku;
      this.group = group;
      this.pieces = pieces;
      this.price = price;
    }
  }

  /** A rule takes something off a line's price, or puts something on it. */
  private interface Rule {
    double apply(Line line, double price);
  }

  /** An order: what a number stands for, always the same. */
  private static final class Order {
    private static final int LINES = 1500;
    private static final String[] GROUPS = {"novels", "poems", "plays", "maps", "scores"};
    private static final List<Rule> RULES = List.of(
        (line, price) -> line.pieces >= 10 ? price * 0.95 : price,
        (line, price) -> line.group.equals("plays") ? price * 0.9 : price,
        (line, price) -> line.group.startsWith("m") ? price + 0.5 : price,
        (line, price) -> line.sku.endsWith("7") ? Math.max(1, price - 2) : price,
        (line, price) -> line.sku.hashCode() % 11 == 0 ? Math.sqrt(price * price * 0.98) : price,
        (line, price) -> price > 50 ? 50 + Math.log1p(price - 50) : price,
        (line, price) -> Math.round(price * 100) / 100.0);

    private final List<Line> lines = new ArrayList<>();

    static Order of(int n) {
      Order order = new Order();
      long state = n * 2654435761L + 1;
      for (int i = 0; i < LINES; i++) {
        state = state * 6364136223846793005L + 1442695040888963407L; // Knuth's MMIX
        int draw = (int) (state >>> 33);
        String group = GROUPS[Math.floorMod(draw, GROUPS.length)];
        order.lines.add(new Line(group.substring(0, 2) + "-" + draw % 100000, group, 1 + draw % 17, draw % 9000 / 100.0));
      }
      return order;
    }

    String quote() {
      Map<String, Double> totals = new TreeMap<>();
      StringBuilder out = new StringBuilder("{\"lines\":[");
      lines.sort(Comparator.comparing((Line l) -> l.group).thenComparing(l -> l.sku));
      for (Line line : lines) {
        double price = line.price;
        for (Rule rule : RULES) {
          price = rule.apply(line, price);
        }
        totals.merge(line.group, price * line.pieces, Double::sum);
        out.append(out.charAt(out.length() - 1) == '[' ? "" : ",").append("{\"sku\":\"").append(line.sku)
            .append("\",\"pieces\":").append(line.pieces).append(",\"price\":").append(price).append('}');
      }
      out.append("],\"totals\":{");
      totals.forEach((group, total) -> out.append('"').append(group).append("\":").append(Math.round(total * 100) / 100.0).append(','));
      out.setCharAt(out.length() - 1, '}');
      return out.append('}').toString();
    }
  }
}
