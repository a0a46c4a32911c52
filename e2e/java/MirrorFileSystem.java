import java.net.URI;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystemFactory;
import org.apache.flink.core.fs.local.LocalFileSystem;

/** A plugin for Flink: files of this machine under another scheme. */
public final class MirrorFileSystem implements FileSystemFactory {
    @Override
    public String getScheme() {
        return "mirror";
    }

    @Override
    public FileSystem create(URI uri) {
        return new LocalFileSystem();
    }
}
