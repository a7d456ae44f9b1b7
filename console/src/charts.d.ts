declare module "charts:all" {
  const charts: readonly import("./charts-data.ts").ChartData[];
  export default charts;
}
