package shop;

import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A Spring Cloud service, which registers itself in ZooKeeper. It knows nothing of crossfade. */
@SpringBootApplication
@RestController
public class Main {
  @Value("${server.port}")
  private int port;

  /** Answers with the port of the instance that serves. */
  @GetMapping("/")
  public String who() {
    return port + "\n";
  }

  public static void main(String[] args) {
    SpringApplication.run(Main.class, args);
  }
}
