package segstream.bench;

import java.util.Arrays;

/**
 * What is kept of a user, in flat arrays that Flink writes as they are; a Flink POJO.
 *
 * <p>A cell counts the views of one pane that have one value ({@link #NO_VALUE}: that lack it).
 */
public class Profile {
    static final int NO_VALUE = -1;

    public long clockMs = Long.MIN_VALUE;
    /** The event time of the one timer that is known to be set; the largest long when none is. */
    public long timerMs = Long.MAX_VALUE;

    public int views;
    public String[] values = {};
    public int[] totals = {};
    public boolean[] member = {};

    public int cells;
    public int[] cellPane = new int[4];
    public int[] cellValue = new int[4];
    public int[] cellCount = new int[4];

    public int ids;
    public long[] idHash = new long[4];
    public int[] idAtS = new int[4];

    boolean isEmpty() {
        for (boolean in : member) {
            if (in) {
                return false;
            }
        }
        return cells == 0 && ids == 0;
    }

    boolean hasSeen(long hash) {
        for (int i = 0; i < ids; i++) {
            if (idHash[i] == hash) {
                return true;
            }
        }
        return false;
    }

    /** Remembers an id, and forgets the oldest where there are {@code most} already. */
    void remember(long hash, int atS, int most) {
        if (ids == most) {
            forget(1);
        }
        if (ids == idHash.length) {
            idHash = Arrays.copyOf(idHash, ids * 2);
            idAtS = Arrays.copyOf(idAtS, ids * 2);
        }
        idHash[ids] = hash;
        idAtS[ids++] = atS;
    }

    void forgetUntil(int oldestS) {
        int gone = 0;
        while (gone < ids && idAtS[gone] <= oldestS) {
            gone++;
        }
        if (gone > 0) {
            forget(gone);
        }
    }

    private void forget(int gone) {
        ids -= gone;
        System.arraycopy(idHash, gone, idHash, 0, ids);
        System.arraycopy(idAtS, gone, idAtS, 0, ids);
    }

    void count(int pane, String name) {
        int value = name == null ? NO_VALUE : indexOf(name);
        views++;
        if (value != NO_VALUE) {
            totals[value]++;
        }
        for (int i = cells - 1; i >= 0; i--) {
            if (cellPane[i] == pane && cellValue[i] == value) {
                cellCount[i]++;
                return;
            }
        }
        if (cells == cellPane.length) {
            cellPane = Arrays.copyOf(cellPane, cells * 2);
            cellValue = Arrays.copyOf(cellValue, cells * 2);
            cellCount = Arrays.copyOf(cellCount, cells * 2);
        }
        cellPane[cells] = pane;
        cellValue[cells] = value;
        cellCount[cells++] = 1;
    }

    /** The index of the oldest pane; the largest int when there is none. */
    int oldestPane() {
        int oldest = Integer.MAX_VALUE;
        for (int i = 0; i < cells; i++) {
            oldest = Math.min(oldest, cellPane[i]);
        }
        return oldest;
    }

    void drop(int pane) {
        int kept = 0;
        for (int i = 0; i < cells; i++) {
            if (cellPane[i] != pane) {
                cellPane[kept] = cellPane[i];
                cellValue[kept] = cellValue[i];
                cellCount[kept++] = cellCount[i];
            } else {
                views -= cellCount[i];
                if (cellValue[i] != NO_VALUE) {
                    totals[cellValue[i]] -= cellCount[i];
                }
            }
        }
        cells = kept;
    }

    /** The place of a value: its own, one that nothing uses any more, or a new one. */
    private int indexOf(String name) {
        int free = values.length;
        for (int i = values.length - 1; i >= 0; i--) {
            if (values[i].equals(name)) {
                return i;
            }
            if (totals[i] == 0 && !member[i]) {
                free = i;
            }
        }
        if (free == values.length) {
            values = Arrays.copyOf(values, free + 1);
            totals = Arrays.copyOf(totals, free + 1);
            member = Arrays.copyOf(member, free + 1);
        }
        values[free] = name;
        return free;
    }
}
