/** What is served. */
public interface Orders {
  /** Answers with the port of the instance that serves. */
  String who();
}
