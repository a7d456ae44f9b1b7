import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { privateFiles, privateFolder } from "../../src/support/private-folder.ts";
import { freshFolder } from "../charging/folders.ts";
import { describeUnless, itUnless } from "../support/unless.ts";

const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);
const refuses = () => {
  throw new Error("EPERM: operation not permitted");
};

describeUnless(process.platform === "win32" ? "Windows has no modes of files" : undefined)(
  "a folder of secrets",
  () => {
    it("is made for its owner alone, with what is on the way to it", () => {
      const path = join(freshFolder(), "a", "b");
      privateFolder(path);
      expect(modeOf(path)).toBe("700");
    });

    it("is refused where none can be made", () => {
      const folder = freshFolder();
      symlinkSync(join(folder, "unmounted"), join(folder, "link"));
      expect(() => privateFolder(join(folder, "link"))).toThrow(/ENOENT/);
      expect(() => privateFolder(join(folder, "link", "data"))).toThrow(/ENOENT/);
      writeFileSync(join(folder, "file"), "");
      expect(() => privateFolder(join(folder, "file", "data"))).toThrow(/ENOTDIR/);
    });

    // Node's own way to make the folders above as well never returns here.
    itUnless(process.platform === "linux" ? undefined : "/proc is of Linux")(
      "is refused in a file system that takes no folders",
      () => {
        expect(() => privateFolder("/proc/tollgate/data")).toThrow(/ENOENT/);
      },
    );

    it.each([0o755, 0o750, 0o777, 0o701, 0o2770])("of mode %o is closed to others", (mode) => {
      const path = freshFolder();
      chmodSync(path, mode);
      privateFolder(path);
      expect(modeOf(path)).toBe("700");
    });

    it("that is somebody else's and open to others is refused, with what to do", () => {
      const path = freshFolder();
      chmodSync(path, 0o755);
      expect(() => privateFolder(path, refuses)).toThrow(
        /is open to other users \(mode 0755\), and could not be closed: EPERM.*chown/,
      );
      expect(() => privateFolder(path, () => {})).toThrow(/keeps no modes/);
      chmodSync(path, 0o700);
      privateFolder(path, refuses); // nothing to do
    });

    it("is none that everybody uses: such a one is left as it is", () => {
      const path = freshFolder();
      chmodSync(path, 0o1777);
      expect(() => privateFolder(path)).toThrow(/is for everybody \(mode 1777\): it takes a folder of its own/);
      expect(modeOf(path)).toBe("1777");
    });

    it("has files for its owner alone", () => {
      const path = freshFolder();
      mkdirSync(join(path, "inner"), { mode: 0o755 });
      for (const name of ["data.mdb", "other"]) writeFileSync(join(path, name), "", { mode: 0o644 });
      privateFiles(path, ["data.mdb", "missing"]);
      expect([modeOf(join(path, "data.mdb")), modeOf(join(path, "other"))]).toEqual(["600", "644"]);
      privateFiles(path);
      expect(modeOf(join(path, "other"))).toBe("600");
      expect(modeOf(join(path, "inner"))).toBe("755");
      chmodSync(join(path, "other"), 0o640);
      expect(() => privateFiles(path, undefined, refuses)).toThrow(/other is open to other users/);
    });
  },
);
